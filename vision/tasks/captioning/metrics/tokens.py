"""The tokens of captions as the field's scores count them, without Java.

pycocoevalcap runs the tokeniser of Stanford's CoreNLP in Penn Treebank style, lower-cases, and
leaves punctuation out. `tokenize` gives the same words for what captions are made of: words with
hyphens and slashes, contractions (`it 's`, `ca n't`), abbreviations that keep their period,
numbers, times and fractions, brackets by name (`-lrb-`), symbols. Not kept up with: emoticons,
markup, telephone numbers.
"""

from __future__ import annotations

import re

_ABBREVIATIONS = (  # in any case
    "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thu(?:rs)?|fri|calif|conn|fla|ind|"
    "ariz|ala|colo|dak|ga|kans?|ky|md|mich|minn|mo|mont|neb|nev|okla|penn|tenn|va|vt|wisc?|wyo|"
    "mrs?|ms|drs?|profs?|sens?|reps?|atty|lt|col|gen|messrs|govs?|adm|rev|maj|sgt|cpl|pvt|capt|"
    "ste?|ave|pres|lieut|hon|brig|com?dr|pfc|spc|supts?|det|mt|ft|adj|adv|asst|assoc|ens|insp|"
    "mlle|mme|msgr|sfc|inc|cos?|corp|ltd|plc|rt|bancorp|dept|bhd|assn|univ|intl|sys|pt[ye]|ph|jr|"
    "sr|bros|blvd|rd|esq|etc|al|seq|vs|est|ext|tel|cf|ct|sq|bldg|invt|elec|natl"
)
_STATES = "M(?:ass|ASS)|I(?:ll|LL)|A(?:rk|RK)|D(?:el|EL)|L[aA]|M(?:iss|ISS)|O(?:re|RE)|P[aA]|"
_STATES += "T(?:ex|EX)|W(?:ash|ASH)"  # words of their own in lower case
_BEFORE_NUMBERS = "nos?|prop|figs?|art|op|pp|ca"
# words before which a single letter with a period ends a sentence, as the end of the text does
_STARTERS = (
    "A|About|According|Additionally|After|An|As|At|But|Earlier|He|Her|Here|However|If|In|It|Last|"
    "Many|More|Now|Once|One|Other|Our|She|Since|So|Some|Such|That|The|Their|Then|There|These|They|"
    "This|We|When|While|What|Yet|You"
)
_CONTRACTION = r"'(?:s|m|d|re|ve|ll)(?![^\W\d_])"
_INNER_APOSTROPHE = r"(?<=[aeiouy])'(?=[aeiou])|(?<![^\W_][^\W_])'"

_TOKEN = re.compile(
    rf"""
      https?://\S+[\w/] | [\w.+-]+@[\w-]+(?:\.[\w-]+)+                  # addresses
    | (?:www\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|edu|gov)\b(?:/\S*\w)?
    | \d+[ ]\d+/\d+(?!\w)                                               # a number, a fraction
    | (?<![^\W_])(?:{_ABBREVIATIONS}|(?-i:{_STATES}))\.(?!\w)
    | (?<![^\W_])(?:{_BEFORE_NUMBERS})\.(?=\s*\d)
    | (?<![^\W_])[^\W\d_]{{2,}}(?:[.!?][^\W\d_]+)+(?![^\W_])            # no space after a sentence
    | (?<![^\W_])[^\W\d_](?:[.!?][^\W\d_]{{2,}})+(?![^\W_])
    | (?<![^\W_])[a-z](?:\.[a-z])+(?![^\W_])\.?                         # acronyms
    | (?<![^\W_])[a-z]\.(?!\w|\s*$|\s+(?-i:{_STARTERS})\b)
    | \b(?:cannot|gonna|gotta|wanna|lemme|gimme)\b | (?<!\w)'t(?:is|was)\b
    | [^\W\d_]+?(?=n't\b) | n't\b | {_CONTRACTION}
    | '(?:\d0s|em|cause)\b | 'n' | \by'(?=all\b)
    | \d{{1,2}}:\d\d                                                    # a time
    | [+-]?(?:\d+(?:[.,]\d+)+|(?<!\d)\.\d+)(?![^\W_]) | [+-]\d+(?![^\W_])
    | (?-i:\b[A-Z]+&[A-Z]+\b)
    | [^\W_]+(?:(?!{_CONTRACTION}|'n')(?:[/_-]|{_INNER_APOSTROPHE})[^\W_]+)*
    | [@\#][^\W\d_]\w*
    | [.]{{3}} | (?:[.]\s){{2}}[.] | -- | [?!]+ | \S
    """,
    re.IGNORECASE | re.VERBOSE,
)

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u00b4", "'"),  # quotation marks
        **dict.fromkeys("\u201c\u201d\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2013\u2014", " -- "),  # dashes
        "\u2026": "...",
    }
)
_SPELLED = {  # as the Treebank writes them, once lower-cased
    "cannot": "can not",
    "gonna": "gon na",
    "gotta": "got ta",
    "wanna": "wan na",
    "lemme": "lem me",
    "gimme": "gim me",
    "'tis": "'t is",
    "'twas": "'t was",
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
    "½": "1/2",
    "¼": "1/4",
    "¾": "3/4",
    "€": "$",
    "£": "#",
}
_PUNCTUATION = {"'", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", ". . .", ";"}


def tokenize(text: str) -> str:
    """Tokens of a caption, lower-cased, without punctuation, with a space between.

    Args:
        text: in English.

    Returns:
        What the tokeniser of pycocoevalcap gives (PTBTokenizer of CoreNLP 3.4.1).
    """
    tokens = (match.group().lower() for match in _TOKEN.finditer(text.translate(_PLAIN)))
    words = (_SPELLED.get(token, token) for token in tokens if token not in _PUNCTUATION)
    # a fraction stays with its number by a space that does not break
    return " ".join(re.sub(r"(?<=\d) (?=\d)", "\xa0", word) for word in words)
