"""A language model on this machine, by transformers: it scores every step, it does not guess."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation.base import Anticipation
from vision.tasks.mistakes.anticipation.calibrate import leave_out_threshold
from vision.tasks.mistakes.anticipation.language import REASONING_TOKENS, LanguageModel
from vision.tasks.mistakes.procedure import Procedure

BATCH = 32
"""Steps whose words are scored together."""

CALIBRATION_FOLDS = 5


class LocalModel(LanguageModel):
    """The likelihood of the words of each step gives the distribution over all of them.

    A step is flagged when it is less likely than by chance among all steps, or, with `alpha`,
    beyond the threshold of executions left out of the prompt, which takes as many runs as the
    examples have steps.

    Args:
        procedure: the examples.
        llm: folder of a model, or a GGUF file.
        alpha: share of correct steps that may be flagged.
        style: keywords of `LanguageModel`.

    Raises:
        FoveateError: no such model, or transformers is not installed.
    """

    def __init__(
        self,
        procedure: Procedure,
        *,
        llm: str | None = None,
        alpha: float | None = None,
        loaded: tuple[Any, Any] | None = None,
        **style: Any,
    ) -> None:
        super().__init__(procedure, **style)
        self.tokenizer, self.model = loaded or load(llm)
        self.threshold = math.log(len(procedure.steps))
        if alpha is not None:
            self.threshold = leave_out_threshold(
                procedure,
                lambda rest: LocalModel(rest, loaded=(self.tokenizer, self.model), **style),
                alpha,
                folds=CALIBRATION_FOLDS,
            )

    def complete(self, messages: list[dict[str, str]], *, count: int, tokens: int) -> list[str]:
        """The likeliest continuation; `count` times the same."""
        ids = self._encode(messages)
        with torch.inference_mode():
            out = self.model.generate(ids, max_new_tokens=tokens, do_sample=False)
        text = self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        return [text] * count

    def _ask(self, history: Sequence[str]) -> Anticipation:
        about = (self.procedure.examples, history, self.kind)
        reasons = None
        if self.reason:
            thinking = self.prompter.thinking(*about)
            (reasons,) = self.complete(thinking, count=1, tokens=REASONING_TOKENS)
            messages = self.prompter.answering(reasons, *about)
        else:
            messages = self.prompter.messages(*about)
        steps = list(self.table.written)
        scores = self.score(messages, [self.table.written[s] for s in steps])
        chances = torch.tensor(scores, dtype=torch.float64).softmax(0).tolist()
        return Anticipation.from_scores(dict(zip(steps, chances, strict=True)), reasons)

    def score(self, messages: list[dict[str, str]], answers: Sequence[str]) -> list[float]:
        """Log likelihood of each answer to a conversation, its end included.

        The conversation is read once; its keys and values serve all answers.
        """
        prompt = self._encode(messages)
        end = [self.tokenizer.eos_token_id]
        coded = [
            self.tokenizer(text, add_special_tokens=False)["input_ids"] + end for text in answers
        ]
        scores: list[float] = []
        with torch.inference_mode():
            read = self.model(prompt, use_cache=True)
        for start in range(0, len(coded), BATCH):
            rows = coded[start : start + BATCH]
            width = max(map(len, rows))
            ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
            with torch.inference_mode():
                cache = copy.deepcopy(read.past_key_values)
                cache.batch_repeat_interleave(len(rows))
                seen = torch.ones(len(rows), prompt.shape[1], dtype=torch.long)
                logits = self.model(
                    ids, cache=cache, attention_mask=torch.cat([seen, mask], 1)
                ).logits
            first = read.logits[:, -1:].expand(len(rows), -1, -1)
            chances = torch.cat([first, logits[:, :-1]], 1).float().log_softmax(-1)
            chosen = chances.gather(-1, ids[..., None])[..., 0] * mask
            scores += chosen.sum(1).tolist()
        return scores

    def _encode(self, messages: list[dict[str, str]]) -> torch.Tensor:
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]


def load(llm: str | None) -> tuple[Any, Any]:
    """Tokenizer and model of a folder or GGUF file, in single precision."""
    if llm is None:
        raise FoveateError("name the model by --llm: a folder or a GGUF file")
    path = Path(llm)
    if not path.exists():
        raise FoveateError(f"no such model: {llm}")
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        raise FoveateError("this needs transformers: pip install 'foveate[llm]'") from None
    where = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    folder = path.parent if where else path
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **where)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **where)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FoveateError(f"{llm} is no language model that can be loaded: {reason}") from None
    return tokenizer, model.eval()
