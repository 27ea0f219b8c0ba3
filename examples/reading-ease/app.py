"""How easy a text is to read, by Flesch's formula: a web application with Flask."""

import re

from flask import Flask, Response, jsonify, request

PAGE = """<!doctype html>
<title>Reading ease</title>
<form method="post"><textarea name="text" rows="12" cols="80"></textarea><p><button>How easy is it?</button></form>
"""
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")
VOWELS = re.compile(r"[aeiouy]+")
LARGEST = 100_000
"""Bytes of a text."""

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = LARGEST


def syllables(word: str) -> int:
    """A group of vowels each, but for a silent e at the end."""
    word = word.lower()
    count = len(VOWELS.findall(word))
    if word.endswith("e") and not word.endswith(("le", "ee")) and count > 1:
        count -= 1
    return max(1, count)


def measured(text: str) -> dict[str, float]:
    """Flesch reading ease: 206.835 - 1.015 words a sentence - 84.6 syllables a word; 60 to 70 is plain English."""
    words = WORD.findall(text)
    sentences = max(1, len(SENTENCE_END.findall(text)))
    spoken = sum(map(syllables, words))
    ease = 206.835 - 1.015 * len(words) / sentences - 84.6 * spoken / len(words)
    return {"words": len(words), "sentences": sentences, "syllables": spoken, "ease": round(ease, 1)}


@app.get("/")
def page() -> str:
    return PAGE


@app.post("/")
def ease() -> tuple[Response, int]:
    """Of the body, or of the field `text` of a form."""
    text = request.form.get("text") or request.get_data(as_text=True)
    if not WORD.search(text):
        return jsonify(error="send an English text as the body, or in the form field text"), 400
    return jsonify(measured(text)), 200
