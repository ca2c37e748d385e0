"""Wrong commands, variables and files: what each must be refused with (tests/test_wrong_commands.py).

`{at}` stands for the folder of the table of tests/right_calls.py.
"""

DEEP = "[" * 100_000
CHATS = ["--safety", "{at}/chats.jsonl", "--utility", "{at}/chats.jsonl"]

COMMANDS: dict[str, dict[str, list[str]]] = {
    "plan": {"model": ["{at}/toy"], "gpus": ["--gpus", "1"], "memory": ["--memory", "80"], "dtype": []},
    "score": {"model": ["{at}/toy"], "safety": ["--safety", "{at}/chats.jsonl"],
              "utility": ["--utility", "{at}/chats.jsonl"], "out": ["--out", "{at}/new"],
              "criterion": ["--criterion", "fisher"], "scu": ["--scu", "0.1"], "ucu": ["--ucu", "0.1"],
              "ru": ["--ru", "0.1"], "refusal": ["--refusal", "sorry"], "compliance": ["--compliance", "sure"],
              "chat_template_kwargs": [], "dtype": [], "device": ["--device", "cpu"]},
    "freeze-check": {"before": ["{at}/toy"], "after": ["{at}/toy"], "mask": ["{at}/labels"], "kind": ["--kind", "SCU"],
                     "shared": [], "rest": []},
    "complete": {"model": ["{at}/toy"], "prompts": ["{at}/mine.csv"], "out": ["--out", "{at}/new"],
                 "max_new_tokens": ["--max-new-tokens", "2"], "batch_size": [], "system": [], "prefill": [],
                 "chat_template_kwargs": [], "dtype": [], "device": ["--device", "cpu"]},
    "judge": {"completions": ["{at}/said"], "by": ["--judge", "keyword:qi2023"]},
    "cache": {"empty": ["--empty", "scores"], "study": [], "older_than": ["--older-than", "1"]},
    "report": {}, "version": {},
}
"""Command of `ssah` -> the words of a right call, parameter by parameter."""

MANY = "sure " * 99
_FILE = ["{at}/nowhere.csv", "{at}/toy", "{at}/empty.csv", "{at}/odd.csv", "{at}/binary.csv", "{at}/deep.json"]
_NUMBERS = ("nan", "-0.1", "1.1", "much")
_COUNTS = ("0", "-1", "1.5", "many")
_KWARGS = ("[]", "{{", "7", '{{"no_such": 1}}')

WRONG_COMMANDS: dict[str, dict[str, list[list[str]]]] = {
    "plan": {"model": [["{at}/nowhere"], ["{at}/said"], [""]], "gpus": [["--gpus", n] for n in _COUNTS],
             "memory": [["--memory", n] for n in ("nan", "-1", "0", "much")],
             "dtype": [["--dtype", "int8"], ["--dtype", ""]]},
    "score": {"model": [["{at}/nowhere"], ["{at}/said"], [""]], "safety": [["--safety", file] for file in _FILE],
              "utility": [["--utility", file] for file in _FILE],
              "out": [["--out", "{at}/toy"], ["--out", "{at}/none/new"], ["--out", "{at}/mine.csv"]],
              "criterion": [["--criterion", "wanda"]], "scu": [["--scu", n] for n in _NUMBERS],
              "ucu": [["--ucu", n] for n in _NUMBERS], "ru": [["--ru", n] for n in (*_NUMBERS, "0.9")],
              "refusal": [["--refusal", "", "--criterion", "attribution"],
                          ["--refusal", "sure", "--criterion", "attribution"]],
              "compliance": [["--compliance", "", "--criterion", "attribution"]],
              "chat_template_kwargs": [["--chat-template-kwargs", text] for text in _KWARGS],
              "dtype": [["--dtype", "int8"]], "device": [["--device", "gpu9"]]},
    "freeze-check": {"before": [["{at}/nowhere"], ["{at}/said"]], "after": [["{at}/nowhere"], ["{at}/mask"]],
                     "mask": [["{at}/nowhere"], ["{at}/scores"], ["{at}/toy"], ["{at}/mine.csv"], ["{at}/none"]],
                     "kind": [["--kind", "XU"]], "shared": [["--shared", "some"]], "rest": [["--rest", "hold"]]},
    "complete": {"model": [["{at}/nowhere"], [""]], "prompts": [[file] for file in _FILE],
                 "out": [["--out", "{at}/toy"], ["--out", "{at}/mine.csv"], ["--out", ""]],
                 "max_new_tokens": [["--max-new-tokens", n] for n in (*_COUNTS, "1000000")],
                 "batch_size": [["--batch-size", n] for n in _COUNTS], "system": [["--system", MANY]],
                 "prefill": [["--prefill", MANY]],
                 "chat_template_kwargs": [["--chat-template-kwargs", text] for text in _KWARGS],
                 "dtype": [["--dtype", "int8"]], "device": [["--device", "gpu9"]]},
    "judge": {"completions": [["{at}/toy"], *([file] for file in _FILE)],
              "by": [["--judge", "keyword"], ["--judge", "final number"], []]},
    "cache": {"empty": [["--empty", "nope"], ["--empty", ""]], "study": [["--study", ""]],
              "older_than": [["--older-than", n] for n in ("nan", "-1", "many")]},
    "report": {"check": [["--chek"], ["more"]]}, "version": {"": [["--all"], ["more"]]},
}
"""Command -> parameter -> words that replace those of the right call."""

FLAGS = ("data", "rehearse", "check", "yes", "as_json")
"""Options without a value, which cannot be wrong."""

PROGRAMS = {
    "execute": [["--seeds", "0"], ["--seeds", "-1"], ["--seeds", "1.5"], ["--seeds", "some"], ["--scale", "huge"],
                ["--scale", "paper"], ["--notebooks", "99"], ["--notebooks", "x"], ["-p", "sedes", "[0]"],
                ["-p", "seeds", "[0]"], ["-p", "scale", "tiny"], ["-p", "model", "some/model"],
                ["-p", "unaligned", "some/model"], ["-p", "share"], ["--notebooks", "00", "-p", "share", "much"],
                ["--notebooks", "00", "-p", "seed", "1.5"], ["--publish", "--scale", "tiny"],
                ["--publish", "--output", "runs/mine"], ["--output", "{at}/mine.csv"], ["--nope"], ["more"]],
    "verify": [["--scale", "paper"], ["--scale", "huge"], ["--studies", "none-such"], ["--studies"], ["--nope"]],
    "planning": [["{at}/nowhere"], [""], ["{at}/toy", "--gpus", "0"], ["{at}/toy", "--gpus", "two"],
                 ["{at}/toy", "--memory", "nan"], ["{at}/toy", "--memory", "-1"], ["{at}/toy", "--dtype", "int8"],
                 ["{at}/toy", "--nope"], []],
    "reading": [["{at}/nowhere", "--labels", "{at}/new", "--table"], ["{at}/said", "--table"],
                ["{at}/said", "--labels", "{at}/new"], ["{at}/said", "--labels", "{at}/mine.csv", "--table"],
                ["{at}/said", "--labels", "{at}/new", "--table"], ["{at}/said", "--labels", "{at}/new", "--n", "0"],
                ["{at}/said", "--labels", "{at}/new", "--table", "--seed", "some"],
                ["{at}/said", "--labels", "{at}/new", "--table", "--reference", "{at}/toy"], []],
    "report": [["--nope"], ["more"]],
    "registration": [["--nope"], ["more"]],
    "organism": [["--nope"], ["more"], []],
    "primaries": [["--seeds", "some"], ["--seeds", "1.5"], ["--orders", "0"], ["--orders", "4"], ["--orders", "two"],
                  ["--scale", "paper"], ["--scale", "huge"], ["none-such"], ["--nope"]],
}
"""Program of `python -m ssah_core...` -> wrong command lines."""

MAKE = {
    "SCALE": [("reproduce", "huge"), ("verify", "paper")], "SEEDS": [("reproduce", "0"), ("reproduce", "some")],
    "NOTEBOOKS": [("reproduce", "99"), ("publish", "x")], "NAME": [("verify", "no-such-run")],
    "STUDIES": [("verify", "none-such")], "MODEL": [("paper", ""), ("rehearse", ""), ("rehearse", "{at}/nowhere")],
    "GPUS": [("paper", "0"), ("paper", "two")], "DTYPE": [("paper", "int8")], "PYTHON": [("env", "no-such-python")],
    "BENCH": [("bench", "speed")], "FAULTS": [("faults", "flood")], "PILLARS": [("trial", "hope")],
}
"""Variable of make -> target and wrong value."""
MAKE_EXEMPT = {"TORCH_BACKEND": "uv reads it, when an environment is made", "TORCH": "pip reads it, in `make lock`",
               "UNALIGNED": "a hub id that is asked for only where a notebook loads it", "COMPARE": "set or not"}

ENVIRONMENT = {
    "SSAH_CACHE": ("{at}/mine.csv", "{at}/mine.csv/below"), "SSAH_FIGURES": ("{at}/mine.csv", "{at}/mine.csv/below"),
    "SSAH_RECORDS": ("maybe", "0"), "SSAH_DATA": ("{at}/nowhere", "{at}/mine.csv"),
    "SSAH_WORKERS": ("0", "-1", "two", "1.5"), "SSAH_EXECUTOR": ("slurm", "dask:", "dask"),
    "SSAH_RAISE": ("yes", "2"), "SSAH_DTYPE": ("float16", "int8"),
    "SSAH_CHAT_TEMPLATE_KWARGS": ("[]", "{{", "thinking"), "SSAH_CHECK_SEED": ("-1", "today"),
}
"""Environment variable -> wrong values."""

DATA = {
    "empty.csv": b"", "blank.csv": b"\n\n", "header.csv": b"prompt,response\n",
    "odd.csv": b"question,answer\nhow ?,sure\n",
    "fields.csv": b"prompt,response\nhow ?,sure,more\n", "twice.csv": b"prompt,prompt\nhow ?,how ?\n",
    "quote.csv": b'prompt\n"how ?\n', "binary.csv": bytes(range(256)),
    "latin.csv": "prompt\nh\xf4w ?\n".encode("latin-1"),
    "nul.csv": b"prompt\nhow\0 ?\n", "gap.csv": b"prompt,response\n,sure\n", "list.txt": b"how ?\n",
    "object.json": b'{"prompt": "how ?"}', "number.json": b"7", "numbers.json": b"[7]", "cut.json": b'[{"prompt": "how',
    "deep.json": DEEP.encode(), "digits.json": b"[" + b"9" * 10_000 + b"]", "rows.json": b"[]",
    "mixed.json": b'[{"prompt": "how ?", "id": 1}, {"prompt": "how ?", "id": "b"}]',
    "surrogate.json": b'[{"prompt": "\\ud800"}]', "null.json": b'[{"prompt": null}]',
    "blank.json": b'[{"prompt": " "}]',
    "cut.jsonl": b'{"prompt": "how ?"}\n{"prompt": ', "list.jsonl": b'["how ?"]\n', "deep.jsonl": DEEP.encode(),
    "large.jsonl": b'{"prompt": "how ?", "id": 99999999999999999999}', "kind.jsonl": b'{"prompt": 7}\n',
}
"""Name of a data file -> its bytes."""
