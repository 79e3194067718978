"""Language models behind an OpenAI-compatible server: llama.cpp, vLLM, Ollama and others."""

from __future__ import annotations

import os
from typing import Any

from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation.language import LanguageModel
from vision.tasks.mistakes.procedure import Procedure

TEMPERATURE, TOP_P = 0.6, 0.9
"""The published way of drawing answers."""


class HttpModel(LanguageModel):
    """Asks a server; the key, where it wants one, is read from `OPENAI_API_KEY`.

    Args:
        procedure: the examples.
        llm_url: the server, such as `http://localhost:8080/v1`; OpenAI's own when None.
        llm: name of the model; the first that the server lists when None.
        timeout: seconds to wait for an answer.
        style: keywords of `LanguageModel`.

    Raises:
        FoveateError: the client is not installed.
    """

    def __init__(
        self,
        procedure: Procedure,
        *,
        llm_url: str | None = None,
        llm: str | None = None,
        timeout: float = 30.0,
        **style: Any,
    ) -> None:
        super().__init__(procedure, **style)
        try:
            import openai
        except ImportError:
            raise FoveateError("this needs the openai client: pip install 'foveate[llm]'") from None
        self.place = llm_url or "OpenAI's server"
        if not llm_url and "OPENAI_API_KEY" not in os.environ:
            raise FoveateError("no language model: give --llm-url, or a key in OPENAI_API_KEY")
        self.timeout, self.model = timeout, llm
        self.client = openai.OpenAI(
            base_url=llm_url or None,
            api_key=os.environ.get("OPENAI_API_KEY", "none"),
            timeout=timeout,
            max_retries=0,
        )

    def complete(self, messages: list[dict[str, str]], *, count: int, tokens: int) -> list[str]:
        """Draw answers, one request each: not every server gives several at once."""
        return [self._one(messages, tokens) for _ in range(count)]

    def _one(self, messages: list[dict[str, str]], tokens: int) -> str:
        import openai

        try:
            if self.model is None:
                self.model = next(iter(self.client.models.list())).id
            response: Any = self.client.chat.completions.create(
                model=self.model,
                messages=messages,  # type: ignore[arg-type]  # the client's own dicts
                max_tokens=tokens,
                temperature=TEMPERATURE,
                top_p=TOP_P,
            )
            text = response.choices[0].message.content
        except openai.APITimeoutError:
            reason = f"did not answer within {self.timeout:g} s"
        except openai.APIConnectionError as error:
            reason = f"gave no answer: {_line(error.__cause__ or error)}"
        except openai.NotFoundError as error:
            reason = f"refused: {_line(error)} (does --llm-url end with /v1?)"
        except openai.APIStatusError as error:
            reason = f"refused: {_line(error)}"
        except (openai.OpenAIError, ValueError, TypeError, AttributeError, LookupError):
            reason = "answered something that is no completion"
        except StopIteration:
            reason = "lists no model: name one by --llm"
        else:
            if text is None or isinstance(text, str):
                return text or ""
            reason = "answered something that is no text"
        raise FoveateError(f"the language model at {self.place} {reason}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
