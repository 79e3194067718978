"""A causal language model in this process: it scores answers, and reads no text twice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from torch import Tensor

from vision.errors import FoveateError

TOGETHER = 64
"""Answers whose tokens are read in one pass."""

Messages = list[dict[str, str]]
"""A conversation: `role` and `content` of each message."""


class Reader:
    """Log likelihoods of answers to a conversation, and the likeliest answer.

    The keys and values of the last conversation are kept: of the next one only what comes after
    their common beginning is read. Answers are read together as a tree of tokens, in which each
    attends to those before it in its own answer (tree attention: SpecInfer, Miao et al., 2024).

    Args:
        tokenizer: of a transformers model, with a chat template.
        model: a causal transformers model.
        name: what messages call it.
    """

    def __init__(self, tokenizer: Any, model: Any, name: str) -> None:
        self.tokenizer, self.model, self.name = tokenizer, model.eval(), name
        config = model.config.get_text_config()
        sizes = (getattr(config, k, None) for k in ("max_position_embeddings", "sliding_window"))
        self.longest = min((size for size in sizes if size), default=None)
        self._lock = Lock()
        self._forget()

    @torch.inference_mode()
    def score(self, messages: Messages, answers: Sequence[str]) -> list[float]:
        """Log likelihood of each answer, its end included.

        Raises:
            FoveateError: more tokens than the model can look back on.
        """
        prompt = self.encode(messages)
        coded = [self.tokenizer(a, add_special_tokens=False)["input_ids"] for a in answers]
        self._check(len(prompt) + max(map(len, coded)))
        batches = (coded[i : i + TOGETHER] for i in range(0, len(coded), TOGETHER))
        with self._lock:
            try:
                after = self._read(prompt)
                return [score for batch in batches for score in self._score(after, batch)]
            except BaseException:  # some layers may hold keys that others lack
                self._forget()
                raise

    @torch.inference_mode()
    def answer(self, messages: Messages, tokens: int) -> str:
        """The likeliest answer, token by token, of at most `tokens`.

        Raises:
            FoveateError: more tokens than the model can look back on.
        """
        prompt = self.encode(messages)
        self._check(len(prompt) + tokens)
        ids = torch.tensor([prompt])
        whole = self.model.generate(ids, max_new_tokens=tokens, do_sample=False)[0]
        return str(self.tokenizer.decode(whole[len(prompt) :], skip_special_tokens=True))

    def encode(self, messages: Messages) -> list[int]:
        """Tokens of a conversation, up to where the answer begins."""
        try:
            text = self._written(messages)
        except TemplateError:  # some models know no system messages
            whole = "\n\n".join(message["content"] for message in messages)
            text = self._written([{"role": "user", "content": whole}])
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _written(self, messages: Messages) -> str:
        return str(
            self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )

    def _forget(self) -> None:
        from transformers import DynamicCache

        self._known: list[int] = []  # tokens whose keys and values are in the cache
        self._cache: Any = DynamicCache()

    def _score(self, after: Tensor, answers: Sequence[Sequence[int]]) -> list[float]:
        """Scores of tokenised answers; `after` are the (V,) logits after the conversation."""
        paths, tokens, parents = token_tree(answers)
        known = len(self._known)
        sees = torch.eye(len(tokens), dtype=torch.bool)
        depth = torch.full((len(tokens),), known)
        for node, parent in enumerate(parents):
            if parent >= 0:
                sees[node] |= sees[parent]
                depth[node] = depth[parent] + 1
        mask = torch.zeros(len(tokens), known + len(tokens), dtype=self.model.dtype)
        mask[:, known:].masked_fill_(~sees, torch.finfo(self.model.dtype).min)
        logits = self.model(
            torch.tensor([tokens]),
            attention_mask=mask[None, None],
            position_ids=depth[None],
            cache=self._cache,
        ).logits[0]
        self._cache.crop(-len(tokens))
        chances = torch.cat([after[None], logits]).float().log_softmax(-1)  # 0: before any token
        steps = chances[torch.tensor(parents) + 1, tokens]
        ends = chances[:, self.tokenizer.eos_token_id]
        return [float(steps[path].sum() + ends[path[-1] + 1]) for path in paths]

    def _read(self, prompt: list[int]) -> Tensor:
        """(V,) logits after a conversation; reads what is new in it, at least its last token."""
        shared = 0
        for ours, theirs in zip(self._known, prompt[:-1], strict=False):
            if ours != theirs:
                break
            shared += 1
        self._cache.crop(shared - len(self._known))
        self._known = self._known[:shared]
        logits: Tensor = self.model(
            torch.tensor([prompt[shared:]]), cache=self._cache, logits_to_keep=1
        ).logits
        self._known = prompt
        return logits[0, -1]

    def _check(self, tokens: int) -> None:
        if self.longest is not None and tokens > self.longest:
            raise FoveateError(
                f"a prompt has {tokens} tokens with its answer, {self.name} looks back on "
                f"{self.longest}: give fewer examples, by --shots or --kind"
            )


def token_tree(
    answers: Sequence[Sequence[int]],
) -> tuple[list[list[int]], list[int], list[int]]:
    """Answers with their common beginnings as one.

    Args:
        answers: tokens of each, at least one.

    Returns:
        The nodes of each answer, and of each node its token and its parent: an earlier node, or
        -1 at the beginning of answers.
    """
    nodes: dict[tuple[int, int], int] = {}
    paths = []
    for answer in answers:
        path: list[int] = []
        for token in answer:
            path.append(nodes.setdefault((path[-1] if path else -1, token), len(nodes)))
        paths.append(path)
    return paths, [token for _, token in nodes], [parent for parent, _ in nodes]


@lru_cache(maxsize=1)
def load_reader(llm: Path) -> Reader:
    """The model of a folder or GGUF file, in single precision; the last one is kept.

    Raises:
        FoveateError: no such model, one that cannot be used, or transformers is not installed.
    """
    if not llm.exists():
        raise FoveateError(f"no such model: {llm}")
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        raise FoveateError("this needs transformers: pip install 'foveate[llm]'") from None
    where = {"gguf_file": llm.name} if llm.is_file() else {}
    folder = llm.parent if where else llm
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **where)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **where)
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FoveateError(f"{llm} is no language model that can be loaded: {reason}") from None
    if not tokenizer.chat_template:
        raise FoveateError(f"{llm} has no chat template: give a model that follows instructions")
    if model._is_stateful:
        raise FoveateError(f"{llm} is no transformer: serve it, and name the server by --llm-url")
    return Reader(tokenizer, model, str(llm))
