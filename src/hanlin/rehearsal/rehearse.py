"""The rehearsal: every step of the real run at its real size for three training steps, then what comes after it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import content_id, is_artifact, open_artifact, read_manifest
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import EVENTS_FILE, read_events
from hanlin.core.run.execute import is_being_written
from hanlin.core.run.recipe import Step
from hanlin.rehearsal import work
from hanlin.rehearsal.apart import Ended, apart, memory_bytes, warm_up
from hanlin.rehearsal.estimate import Estimate, Scale, sizes, table, total
from hanlin.rehearsal.plan import CHAT_ROWS, TEXT_ROWS, TRAINING, Plan, plan_of, real_options, small
from hanlin.rehearsal.training import Training
from hanlin.rehearsal.view import View
from hanlin.rehearsal.work import Made
from hanlin.workflow import open_inputs, split_values
