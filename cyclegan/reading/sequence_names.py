"""What a name says of an MR image: of a series, a protocol, a file or a folder, in any spelling.

Names are read as whole words ("POST FOSSA" is no contrast agent, "SWITZERLAND" no SWI), in the
languages that scanners are set to; a negation before or behind the agent takes it back.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

FLAIR, DIFFUSION, ANGIOGRAPHY = "FLAIR", "diffusion-weighted", "angiography"
ENHANCED, PROTON_DENSITY, SUSCEPTIBILITY = (
    "post-contrast",
    "proton density",
    "susceptibility-weighted",
)
DUAL = "dual echo"

# Contrasts that a radiologist knows by name, the more telling ones first.
_NAMED = {
    "localizer": r"locs?|locali[sz]er\w*|localisat\w*|localizad\w*|localizz\w*|lokali\w*|scout|"
    r"aahscout|survey|plan ?scan|topogram|scanogram|reperage|"
    r"(?:3|three|tri) ?pl(?:an\w*)?|smartbrain",
    FLAIR: r"flair\w*|dark ?fl\w*|da fl\w*|tirm|fluid att\w*",
    DIFFUSION: r"dwib?|dwis?|dw|dti|dki|dsi|ivim|noddi|hardi|e?adc|tracew?|diffw?|diffusion\w*|"
    r"diffusie\w*|difusion\w*|difusao|dyfuzj\w*|difuz[ei]\w*|диффузи\w*|b ?\d{3,4}|colfa|"
    r"fractional anisotropy|apparent diff\w*",
    "perfusion": r"perf|perfu[sz]\w+|dsc|dce|p?c?asl|pasl|r?cb[fv]|mtt|ttp|tmax|arterial spin\w*",
    "functional": r"bold|(?:rs ?)?f ?mri|rsf mri|resting",
    ANGIOGRAPHY: r"tof|angio|angiogra\w+|angio(?:mr|rm|irm)|mrangio|cemra|mra|mrv|"
    r"(?:mr)?venogra\w*|inhance|tricks|phase contrast|pca",
    SUSCEPTIBILITY: r"t2 ?star(?:w|weighted)?|swip?|swan|suscept\w*|suszept\w*|susc|heme|hemo|"
    r"haemo|hamo|venobold|qsm",
    PROTON_DENSITY: r"pdw?i?|proton(?:en)?|protoni\w*|proton ?dens\w*|dens\w* proton\w*",
    "spectroscopy": r"mrsi?|csi|svs|e?spe[ck]tros[ck]\w*",
    "subtraction": r"subs?tra[ck]\w+|subtr",
    "STIR": r"t?stir",
    "map": r"map|maps|mapping|field ?map\w*|b[01]map|relax|relaxo\w*|relaxation|t[12] ?rho|"
    r"parametric",
}
# What else is no plain T1 or T2: fat suppressed, a phase, an EPI, ...
_SPECIAL = (
    r"fs|fat ?sat\w*|fat ?sup\w*|m?dixon|spair|spir|epi?|pc|dir|pha|"
    r"(?<!in )phase(?! (?:enc\w*|dir\w*|swap\w*|over\w*|fov|ap|pa|rl|lr|si|is|hf|fh)\b)|"
    r"screen ?saves?|screen ?shots?|captures?|calib\w*|asset cal\w*|refscan|sense ?ref\w*"
)
_LABELS = (
    r"\w*masks?|maske|masque|mascara|maschera|masker|segs?|segmentation\w*|segmentacion\w*|"
    r"segmentierung\w*|[dact]seg|probseg|pve|aparc\w*|wmparc|parc|parcell\w+|parcs?|labels?|"
    r"labelmaps?|rois?|atlas|ribbon|annotations?|ground ?truth"
)
_T1 = r"t1|mprage|mp rage|mp2rage|f?spgr|bravo"

# The contrast agent. A word that negates must stand beside one that names it; `_NATIVE` suffices.
_AGENT = (
    r"gad|gado\w*|gd|gddtpa|km|kontras\w*|contrast\w*|контраст\w*|ку|mdc|cmc|ce|cte|"
    r"injec?t\w*|injek\w*|inyec\w*|iniett\w*|enh|enhanced|enhancing|magnevist|dotarem|omniscan|"
    r"prohance|multihance|clariscan|vueway|elucirem|dtpa"
)
_NOT = (
    r"without|wo|sans|ohne|o|sin|senza|sem|zonder|bez|без|uten|uden|utan|ilman|non|no|not|none|"
    r"nil|pre|avant|antes|vor|voor|prima|przed|до|innan|before"
)
_NATIVE = r"nativ[aeo]?|natif|unenh|unenhanced|nonenhanced|noncontrast|kontrastsiz|plain"
_WITH = (
    r"with|w|mit|m|avec|apres|con|com|c|nach|dopo|tras|despues|pos|apos|met|na|med|efter|after|po|"
    r"z|s|с|post"
)
_AND = r"(?:and|or|und|u|oder|et|ou|y|e|o|en|i|och|og|и)"
_LINK = r"(?:iv|i v|the|any|de|le|di|del|medio|mezzo|produit|agent|dye|paramagnetic)"
# "Post" and "pre" of something else than the agent.
_EVENT = (
    r"fos+[ae]\w*|ops?|oper\w*|surg\w*|sx|rt|xrt|rad\w*|irrad\w*|chemo\w*|trau\w*|stroke|biop\w*|"
    r"resect\w*|treat\w*|tx|thera\w*|proc\w*|mort\w*|partum|ictal|infar\w*|shunt|crani\w*|seiz\w*|"
    r"transpl\w*|tpa|thromb\w*|embol\w*|dbs|coil\w*|clip\w*|stent\w*|gk|gamma|srs|vp|evd|"
    r"cerebr\w*|horn|column|lat|arch|circ\w*|commiss\w*|ant|lp|myelo\w*|fusion|covid|vacc\w*|"
    r"concuss\w*|hypox\w*|anox\w*|arrest|stereo\w*|elements?|interv\w*|tumou?r\w*"
)
_BEFORE_POST = r"fos+[ae]\w*|ant|circ\w*|art\w*|lobe|horn|commiss\w*|cerebr\w*|central"
_PLAIN_WORD = (  # what may follow "post" of the agent in a name that says no more of it
    r"ax\w*|sag\w*|cor\w*|tra\w*|obl\w*|[23]d|\d\w*|t1\w*|mprage|mpr|spgr|bravo|se|tse|fse|gre|fl|"
    r"tfe|vibe|space|cube|vol\w*|iso\w*|brain|head|fs|fat\w*|flair|min|mm|delay\w*|dyn\w*|run|w|wi"
)
_SPLIT = (  # words that are written as one
    (
        r"\b(ax|axi|axial|sag|cor|tra|trans|obl|oax|[23]d|uni|se|tse|fse|gre|ir|fs|pre|post|ce|km|"
        r"gd|inplane|r|w|m|wr|wm)(t[12](?!\d))",
        r"\1 \2",
    ),
    (r"\b(t[12])(?:w(?:i|e|eighted)?|gew\w*)?(?=[a-z])", r"\1 "),
    (r"\bw o(?:ut)?\b", "without"),
    (r"\bt1 c\b", "t1 gd"),
    (r"\b(\w+?)(flair)", r"\1 \2"),
    (r"(flair)(\w)", r"\1 \2"),
    (
        r"\b(post|pre|non?|sans|ohne|mit|nach|vor|avec|apres|con|sin|senza|sem|with|without|wo?|m|o)"
        r"(gad\w*|gd|km|kontrast\w*|contrast\w*|mdc|enhanced)\b",
        r"\1 \2",
    ),
    (r"\b(post|pre|non|wo|sans|ohne)(c|ce)\b", r"\1 gd"),
    (r"\b(gad|gado|gd|km)(post|pre|neg)\b", r"\2 \1"),
    (r"\b(?:[23]d)([a-z]{2,})", r"\1"),
    (r"\b([a-z]{2,}?)(?:[23]d\d*|\d+)\b", r"\1"),
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z][a-z]|[A-Z]{2})|(?<=[A-Z]{3})(?=[A-Z][a-z]{3})")
# Entities of BIDS that name no contrast of the image itself.
_ENTITY = re.compile(r"(?:^|(?<=[_/\\ ]))(?:sub|ses|run|space|from|to|mode|rec|res)-[a-z0-9]+")
_VERTEBRA = re.compile(r"\bc\d\s*-\s*t[12]\b")
_LETTERS = str.maketrans({"ø": "o", "æ": "ae", "ł": "l", "đ": "d", "ı": "i"})
_FOREIGN = (
    ("造影前", " without gd "),
    ("平扫", " plain "),
    ("単純", " plain "),
    ("单纯", " plain "),
    ("造影", " gd "),
    ("增强", " gd "),
    ("т1", " t1 "),
    ("т2", " t2 "),
)


@dataclass(frozen=True)
class NameFacts:
    """What one name says.

    Attributes:
        weights: those of "T1" and "T2" that it names.
        others: contrasts beside them that it names, the most telling first, such as "FLAIR".
        is_special: whether it names a technique that is no plain T1 or T2 (fat suppression, EPI).
        agent: whether it says with or without contrast agent; None for neither, or both.
        is_label_map: whether it names a mask, a segmentation or an atlas.
    """

    weights: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()
    is_special: bool = False
    agent: bool | None = None
    is_label_map: bool = False

    @property
    def tells(self) -> bool:
        """Whether it says anything of the contrast, the agent aside."""
        return bool(self.weights or self.others or self.is_special or self.is_label_map)

    @property
    def contrast(self) -> str | None:
        """ "T1" or "T2" where the name says so and nothing else, or None."""
        spoiled = self.others or self.is_special or self.is_label_map or self.agent
        return next(iter(self.weights)) if len(self.weights) == 1 and not spoiled else None

    @property
    def rank(self) -> int:
        """0 for a plain T1 or T2, 1 for a name that tells nothing, 2 for any other contrast."""
        if self.contrast:
            return 0
        return 2 if self.tells or self.agent else 1


def read_name(text: str) -> NameFacts:
    """Read one name; words count wherever case, digits or underscores part them."""
    words = _words(text)
    weights = {"T1"} if _has(_T1, words) else set()
    weights |= {"T2"} if re.search(r"\bt2\b(?! star(?:w|weighted)?\b)", words) else set()
    others = [name for name, pattern in _NAMED.items() if _has(pattern, words)]
    if FLAIR in others and "T1" in weights and "T2" not in weights and _is_t1_flair(words):
        others.remove(FLAIR)
    if _has(r"dual|double echo|pd ?t2|t2 pd", words):
        others.append(DUAL)
    agent = _agent(words)
    return NameFacts(
        frozenset(weights),
        tuple(others),
        _has(_SPECIAL, words),
        agent,
        _has(_LABELS, words),
    )


def read_names(texts: Iterable[str]) -> NameFacts:
    """What several names of one image say together: the first that tells the contrast is
    believed, and the first that tells of the agent."""
    facts = [read_name(text) for text in texts if text]
    telling = next((each for each in facts if each.tells), NameFacts())
    agent = next((each.agent for each in facts if each.agent is not None), None)
    return NameFacts(
        telling.weights, telling.others, telling.is_special, agent, telling.is_label_map
    )


def contrast_in_name(name: str) -> str | None:
    """ "T1" or "T2" where a name of a series, file or folder says so and nothing else, or None."""
    return read_name(name).contrast


def negates_agent(text: str) -> bool:
    """Whether a field for the contrast agent says that there was none."""
    words = _words(text).strip()
    return bool(re.fullmatch(rf"(?:{_NOT}|{_NATIVE}|n a|0|0 ?ml|-)?", words)) or (
        _agent(words) is False
    )


def _has(pattern: str, words: str) -> bool:
    return re.search(rf"\b(?:{pattern})\b", words) is not None


def _words(text: str) -> str:
    """The words of a name in lower case without accents, one blank between them; signs that tell
    of the agent as words."""
    text = re.sub(r"(\.nii|\.img|\.hdr)?(\.gz|\.[a-z]{3,5})?$", "", text, flags=re.IGNORECASE)
    text = _CAMEL.sub(" ", text)
    text = unicodedata.normalize("NFKD", text.casefold())
    text = "".join(c for c in text if not unicodedata.combining(c)).translate(_LETTERS)
    for foreign, ours in _FOREIGN:
        text = text.replace(foreign, ours)
    text = _VERTEBRA.sub(" ", _ENTITY.sub(" ", text)).replace("_", " ")
    agent = r"(?:c|iv|gd|gad\w*|km|mdc|ce|kontrast\w*|contrast\w*)"
    for pattern, ours in (
        (r"\bt2 ?w? ?\*", " t2 star "),
        (r"\+ ?/ ?[-–−]|±", " with without "),
        (r"\bw ?/ ?o(?:ut)?\b|\bw-o\b", " without "),
        (r"\bw ?/", " with "),
        (r"\bs ?/ ?(?=contr|gad|gd|mdc|cte|c\b)", " sin "),
        (r"\bc ?/ ?(?=contr|gad|gd|mdc|cte|c\b)", " con "),
        (r"\bfor (?=kontras)", " pre "),
        (rf"\+ ?{agent}\b", " with gd "),
        (rf"\b{agent} ?\+(?!\w)", " with gd "),
        (rf"(?:^|(?<=[\s(\[]))[-–−]{agent}\b", " without gd "),
        (rf"\b{agent}[-–−](?=$|[\s)\]])", " without gd "),
    ):
        text = re.sub(pattern, ours, text)
    words = " ".join(re.findall(r"\w+", text))
    for pattern, ours in _SPLIT:
        words = re.sub(pattern, ours, words)
    return f" {words} "


def _is_t1_flair(words: str) -> bool:
    """Whether FLAIR is the T1 FLAIR of GE: an inversion recovery that keeps fluid dark anyway."""
    return re.search(rf"\b(?:{_T1})\b.*\b(?:flair|tirm|dark|da fl)", words) is not None


def _agent(words: str) -> bool | None:
    """Whether a name says with (True) or without contrast agent, or None."""
    words = re.sub(
        r"\b(?:phase|multi|dual|soft|tissue|high|low|edge|flow|image) (?:contrast|enh)\w*",
        " ",
        words,
    )
    words = re.sub(rf"\b(?:post|pre)(?= (?:{_EVENT})\b)", " ", words)
    words = re.sub(rf"\b({_BEFORE_POST}) post\b", r"\1", words)
    without = rf"(?:{_NOT}|{_NATIVE})"
    one_with = rf"(?:{_WITH})(?: {_LINK})?"
    for both in (
        rf"\b{without}(?: {_AND})? (?:with|w|mit|avec|con|com|met|med|post|nach)\b(?! ?o\b)",
        rf"\b(?:with|w|mit|avec|con|com|met|med|post|nach)(?: {_AND})? (?!no\b)(?:{_NOT})\b(?! \d)",
        rf"\b(?:{_NATIVE})(?: {_AND})? (?:{_AGENT})\b",
    ):
        if re.search(both, words):
            return None
    negated = rf"\b(?:{_NOT})(?: {_LINK})* (?:{_AGENT})\b"
    behind = rf"\b(?:{_AGENT}) (?:without|wo|sans|ohne|no|non|none|nil|neg|negative?)\b"
    if _has(_NATIVE, words) or re.search(negated, words) or re.search(behind, words):
        return False
    if re.search(r"\bpre\b", words):
        return False
    if _has(_AGENT, words) or re.search(rf"\b{one_with} (?:iv|c)\b(?! \d)", words):
        return True
    if re.search(rf"\bpost(?: (?:{_PLAIN_WORD})\b)* *$", words):
        return True
    follows = re.search(r"\bpost \w", words)
    return True if follows and _has(_T1, words) else None
