"""A real browser on JupyterLab and on the site: `make test-browser`. It stands outside `make test`."""
