"""What a run on a real checkpoint will take, before it is begun: an estimate, a rehearsal, a random one to try with."""

from .estimate import Plan, check_data, check_memory, plan
from .random_checkpoint import BASE, NAME, put_into_hub_cache
from .rehearsal import rehearse
