"""What the model says: right where there is a right answer, English, and always the same."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.serving.simulator.answers import compose
from outrider.serving.simulator.generation import plan_answer
from outrider.serving.simulator.known_answers import CAPITALS, known_answer
from outrider.serving.simulator.protocol import CompletionRequest, Prompt, ResponseFormat
from outrider.serving.simulator.tokens import render_chat, token_id, tokenize

RIGHT = {
    "What is 2+2?": "2 + 2 is 4.",
    "what's 17 * 3": "17 * 3 is 51.",
    "Calculate 10 divided by 4": "10 divided by 4 is 2.5.",
    "What is 2 + 2? Reply with only the number.": "4",
    "12 - 20 =": "12 - 20 is -8.",
    "What is the capital of France?": "The capital of France is Paris.",
    "Capital of the Netherlands? Answer with one word.": "Amsterdam",
    "Reply with the single word: pong": "pong",
    "Reply with the single word pong.": "pong",
    'Respond with exactly: "OK"': "OK",
    "Repeat after me: hello world": "hello world",
    "How many days are in a week?": "7",
    "Who wrote Romeo and Juliet?": "William Shakespeare",
}


@pytest.mark.parametrize("question", RIGHT)
def test_known_questions_are_answered_rightly(question: str) -> None:
    assert compose(question, seed=0) == RIGHT[question]


@pytest.mark.parametrize("question", RIGHT)
def test_wrong_answers_are_wrong(question: str) -> None:
    wrong = compose(question, seed=0, kind="wrong")
    right = RIGHT[question]
    assert wrong
    assert right not in wrong
    assert wrong not in right


@pytest.mark.parametrize(
    "question",
    ["", "Tell me about 2026-11-23.", "What is 7 / 0?", "What is the capital of Atlantis?", "Answer in 10 words: why?"],
)
def test_other_questions_have_no_known_answer(question: str) -> None:
    assert known_answer(question) is None


@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from("+-*"))
def test_sums_are_right_and_their_wrong_answers_wrong(left: int, right: int, sign: str) -> None:
    answer = known_answer(f"What is {left} {sign} {right}? Only the number, please.")
    assert answer is not None
    result = {"+": left + right, "-": left - right, "*": left * right}[sign]
    assert answer.right == str(result)
    assert answer.wrong != answer.right


@pytest.mark.parametrize("country", CAPITALS)
def test_no_country_gets_its_capital_as_the_wrong_answer(country: str) -> None:
    answer = known_answer(f"What is the capital of {country}?")
    assert answer is not None
    assert CAPITALS[country] in answer.right
    assert CAPITALS[country] not in answer.wrong


def test_an_ordinary_answer_is_english_about_the_question() -> None:
    text = compose("Please explain Kubernetes to me", seed=0)
    assert "Kubernetes" in text
    assert re.fullmatch(r"[ -~]+\.", text)


@pytest.mark.parametrize("question", ["What is 2+2?", "Please explain Kubernetes to me"])
def test_a_foreign_answer_is_not_english(question: str) -> None:
    texts = [compose(question, seed=seed, kind="foreign") for seed in range(20)]
    assert not any("the" in re.findall(r"\w+", text.lower()) for text in texts)
    assert any(not text.isascii() for text in texts)


@given(st.text(), st.integers(0, 5), st.integers(0, 500))
def test_equal_questions_get_equal_answers_of_the_length_asked_for(question: str, seed: int, least: int) -> None:
    text = compose(question, seed=seed, minimum_characters=least)
    assert text == compose(question, seed=seed, minimum_characters=least)
    assert len(text) >= max(1, least)


def test_another_seed_gives_another_answer() -> None:
    assert len({compose("Please explain Kubernetes to me", seed=seed) for seed in range(10)}) > 5


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(tokenize(text)) == text


@given(st.text(), st.text())
def test_a_longer_text_has_no_fewer_tokens(text: str, more: str) -> None:
    assert len(tokenize(text + "\n" + more)) >= len(tokenize(text))


def test_english_has_about_four_characters_to_a_token() -> None:
    text = " ".join(compose("Please explain Kubernetes to me", seed=seed) for seed in range(10))
    assert 3.5 < len(text) / len(tokenize(text)) < 5.5


def test_a_conversation_begins_as_its_first_turns_did() -> None:
    turns = [("user", "Hello"), ("assistant", "Good day")]
    first, both = (tokenize(render_chat(turns[:count])) for count in (1, 2))
    assert both[: len(first)] == first


def test_token_numbers_are_in_the_vocabulary() -> None:
    assert all(0 <= token_id(piece) < 128_256 for piece in tokenize("Hello, world! 12345"))


def plan(budget: int = 200, prompt: str = "Please explain Kubernetes to me", **fields: object) -> list[str]:
    """Text, finish reason, stop reason and number of tokens."""
    request = CompletionRequest(prompt=prompt, **fields)  # type: ignore[arg-type]
    answer = plan_answer(request, Prompt(tokenize(prompt), prompt), budget=budget, index=0, seed=0, kind="normal")
    return [answer.text(), answer.finish_reason, str(answer.stop_reason), str(len(answer.pieces))]


def test_an_answer_that_ends_by_itself_has_an_end_token() -> None:
    assert plan(prompt="Reply with the single word: pong") == ["pong", "stop", "None", "2"]


def test_an_answer_that_fills_its_budget_ends_by_length() -> None:
    assert plan(prompt="Reply with the single word: pong", budget=1) == ["pong", "length", "None", "1"]


def test_ignore_eos_fills_the_budget() -> None:
    assert plan(budget=500, ignore_eos=True)[1:] == ["length", "None", "500"]


def test_min_tokens_lengthens_a_short_answer() -> None:
    _, reason, _, tokens = plan(prompt="Reply with the single word: pong", min_tokens=50)
    assert reason == "stop"
    assert int(tokens) >= 50


def test_a_stop_string_ends_the_answer_before_it() -> None:
    whole = plan()[0]
    word = whole.split()[5]
    text, reason, stop, _ = plan(stop=["never said", word])
    assert (text, reason, stop) == (whole[: whole.index(word)], "stop", word)
    assert plan(stop=word, include_stop_str_in_output=True)[0] == whole[: whole.index(word) + len(word)]


def test_a_stop_string_before_min_tokens_is_passed_over() -> None:
    whole = plan()[0]
    assert plan(stop=whole[:1], min_tokens=5)[0] != ""


def test_json_is_an_object() -> None:
    assert plan(prompt="What is 2+2?", response_format=ResponseFormat("json_object"))[0] == '{"answer":"2 + 2 is 4."}'


LIMITS = {"budget": st.integers(1, 40), "least": st.integers(0, 60)}


@given(prompt=st.text(max_size=30), ignore_eos=st.booleans(), stop=st.lists(st.text(min_size=1), max_size=2), **LIMITS)
def test_no_answer_is_empty_or_longer_than_its_budget(
    prompt: str, budget: int, least: int, ignore_eos: bool, stop: list[str]
) -> None:
    tokens = int(plan(prompt=prompt, budget=budget, min_tokens=least, ignore_eos=ignore_eos, stop=stop)[3])
    assert 1 <= tokens <= budget
