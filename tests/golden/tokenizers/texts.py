"""Texts of many scripts and of awkward kinds, the same ones for the same seed."""

import random

SAMPLES = [
    "The quick brown fox jumps over the lazy dog, and it isn't the first time they've seen it.",
    "We'll train a small model on plain text; I'd say that's what you're here for.",
    "In 1969 about 650,000,000 people watched; 3.14159 is not 22/7, and 1e-9 is small.",
    "Él niño comió piñas en Bogotá. ¿Qué hora es? ¡Vámonos!",
    "Les élèves français étudient où l'été naît, à Noël, naïvement.",
    "Größere Straßen führen über Köln nach Nürnberg; Fußgänger müssen läuten.",
    "Žluťoučký kůň úpěl ďábelské ódy. Zażółć gęślą jaźń.",
    "Türkiye'de İstanbul ve Iğdır arasında ılık bir rüzgâr esti.",
    "Tiếng Việt có nhiều dấu: phở, bún chả, nước mắm, đường Nguyễn Huệ.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Η γρήγορη αλεπού πηδάει πάνω από τον τεμπέλη σκύλο.",
    "האיש הלך אל השוק וקנה תפוחים, שָׁלוֹם עֲלֵיכֶם.",
    "ذهب الرجل إلى السوق واشترى تفاحًا، السَّلَامُ عَلَيْكُمْ ١٢٣٤.",
    "वह बाज़ार गया और उसने सेब खरीदे। क़लम ख़राब है १२३।",
    "তিনি বাজারে গিয়ে আপেল কিনলেন। ড় ঢ় য়",
    "அவன் சந்தைக்குச் சென்று ஆப்பிள் வாங்கினான்.",
    "เขาไปตลาดและซื้อแอปเปิ้ลสามลูก ราคา ๑๒๓ บาท กำลังดี",
    "ລາວໄປຕະຫຼາດ និងទិញផ្លែប៉ោម ကျွန်တော် ဈေးသွားတယ်",
    "他去市场买了三个苹果，一共花了二十五元。",
    "彼は市場へ行って、りんごを三つ買いました。ガギグゲゴ ｶﾞｷﾞｸﾞ",
    "그는 시장에 가서 사과 세 개를 샀습니다. 각각 한글",
    "ის ბაზარში წავიდა. Նա գնաց շուկա: ወደ ገበያ ሄደ።",
    "for (int i = 0; i < n; ++i) {\n    sum += x[i] * 0x1F;\n\treturn sum;\n}\n",
    "def f(x: int = 3) -> str:\n    \"\"\"Say it.\"\"\"\n    return f\"{x!r:>10}\" if x else ''\n\n\n",
    "SELECT a.id, COUNT(*) FROM t AS a WHERE a.name LIKE '%x%' GROUP BY 1;\r\n",
    "<div class=\"a b\">&nbsp;<p>text</p></div><!-- no -->\n\n# Title\n\n* one\n* two\n",
    "{\"key\": [1, 2.5e3, null, true], \"nested\": {\"a\": \"\\u00e9\"}}",
    "https://example.org/path?q=1&r=%20x#frag user@example.org C:\\Windows\\x",
    "1,234,567.89 $12.50 €3 50% #42 (a+b)^2=c^2 x_1 y² z³ ½ ¼ Ⅻ ① ٣ ３",
    "IT'S SHE'LL WE'VE I'M YOU'RE HE'D o'clock 'tis rock'n'roll l'ſ d'Kelvin ’s",
]

BLOCKS = [
    (0x20, 0x7e), (0xa0, 0x17f), (0x180, 0x24f), (0x250, 0x2ff), (0x370, 0x3ff), (0x400, 0x52f),
    (0x530, 0x58f), (0x590, 0x5ff), (0x600, 0x6ff), (0x8a0, 0x8ff), (0x900, 0x97f),
    (0x980, 0x9ff), (0xa00, 0xa7f), (0xb80, 0xbff), (0xc00, 0xcff), (0xd00, 0xdff), (0xe00, 0xe7f),
    (0xe80, 0xeff), (0xf00, 0xfff), (0x1000, 0x109f), (0x1100, 0x11ff), (0x1200, 0x137f),
    (0x1780, 0x17ff), (0x1800, 0x18af), (0x1c80, 0x1c8f), (0x1e00, 0x1eff), (0x1f00, 0x1fff),
    (0x2000, 0x206f), (0x2070, 0x209f), (0x20a0, 0x20cf), (0x2100, 0x218f), (0x2190, 0x21ff),
    (0x2200, 0x22ff), (0x2440, 0x24ff), (0x2e80, 0x2fff), (0x3000, 0x303f), (0x3040, 0x30ff),
    (0x3130, 0x318f), (0x3200, 0x33ff), (0x4e00, 0x9fff), (0xa720, 0xa7ff), (0xac00, 0xd7a3),
    (0xe000, 0xe0ff), (0xf900, 0xfaff), (0xfb00, 0xfb4f), (0xfb50, 0xfdff), (0xfe20, 0xfe6f),
    (0xff00, 0xffff), (0x10000, 0x100ff), (0x10400, 0x1044f), (0x105c0, 0x105f3),
    (0x10d40, 0x10d8f), (0x11380, 0x113ff), (0x11f00, 0x11f5a), (0x16d40, 0x16d79),
    (0x1d100, 0x1d7ff), (0x1e4d0, 0x1e4f9), (0x1f000, 0x1faff), (0x20000, 0x20100),
    (0x2ebf0, 0x2ec40), (0x31350, 0x31400), (0xe0000, 0xe01ef), (0x10fff0, 0x10ffff),
]
SPACES = [" "] * 8 + list("\t\n\r\v\f\x1c\x1f\x85\xa0\u1680\u180e\u2000\u2003\u2009\u200b\u2028"
                          "\u2029\u202f\u205f\u3000\ufeff") + ["\r\n", "\n\n", "  ", "    "]
MARKS = [chr(c) for c in (*range(0x300, 0x34f), 0x591, 0x5b0, 0x5bc, 0x64b, 0x651, 0x93c, 0x9be,
                          0x9d7, 0xe38, 0xe48, 0x1ab0, 0x1dc0, 0x20d0, 0x3099, 0x309a, 0xfe20)]
EMOJI = ["😀", "👍", "👩", "👨", "👧", "❤", "🏳", "🌈", "🔥", "☕", "✈", "🇩", "🇪", "🇺", "🇸", "1⃣", "#⃣",
         "🧑", "🚀", "⚖", "🫠", "🪿", "🫨"]
JOINERS = ["\u200d", "\ufe0f", "\u200d", "🏽", "🏿", "\ufe0e", "", "", " "]
CONTRACTIONS = ["'s", "'S", "'t", "'T", "'re", "'RE", "'Re", "'ve", "'VE", "'m", "'M", "'ll", "'LL",
                "'d", "'D", "'ſ", "'x", "''", "’s", "'lL", "'K"]


class Texts:
    """Random texts; `specials` are the tokens that some of them contain."""

    def __init__(self, seed, specials):
        self.random = random.Random(seed)
        self.specials = specials
        self.kinds = [self.anything, self.block, self.block, self.emoji, self.marks, self.sentence,
                      self.sentence, self.code, self.spaces, self.digits, self.contractions,
                      self.special, self.special, self.repeats, self.mixture]

    def text(self):
        return self.random.choice(self.kinds)()

    def times(self, low, high):
        return range(self.random.randint(low, high))

    def anything(self):
        points = (self.random.choice((self.random.randrange(0x110000), self.random.randrange(0x3000)))
                  for _ in self.times(0, 12))
        return "".join(chr(c) for c in points if not 0xd800 <= c < 0xe000)

    def block(self):
        low, high = self.random.choice(BLOCKS)
        words = ["".join(chr(self.random.randint(low, high)) for _ in self.times(1, 6))
                 for _ in self.times(1, 4)]
        return self.random.choice((" ", "", ", ", "\n", "-", "1")).join(words)

    def emoji(self):
        return "".join(self.random.choice(EMOJI) + self.random.choice(JOINERS)
                       for _ in self.times(1, 8))

    def marks(self):
        letters = "aeiouAEIOUnsczåéñüÅẛΩ가각かハक" + "דشกখ "
        return "".join(self.random.choice(letters) + "".join(
            self.random.choice(MARKS) for _ in self.times(0, 3)) for _ in self.times(1, 8))

    def sentence(self):
        words = self.random.choice(SAMPLES).split(" ")
        start = self.random.randrange(len(words))
        return " ".join(words[start:start + self.random.randint(1, 9)])

    def code(self):
        sample = self.random.choice(SAMPLES[22:28])
        start = self.random.randrange(len(sample))
        return sample[start:start + self.random.randint(5, 45)]

    def spaces(self):
        return "".join("".join(self.random.choice(SPACES) for _ in self.times(0, 5)) +
                       self.random.choice(("a", "Word", ".", "7", "é", "{", "", "字"))
                       for _ in self.times(1, 5))

    def digits(self):
        sets = ["0123456789"] * 4 + ["٠١٢٣٤٥٦٧٨٩", "०१२३", "０１２３", "²³¹", "ⅣⅫⅷ", "①②③", "½¾", "𝟘𝟙𝟚"]
        parts = ("".join(self.random.choice(self.random.choice(sets)) for _ in self.times(1, 7))
                 for _ in self.times(1, 4))
        return self.random.choice(("", " ", ",", ".", "-", "a", "\n", " x")).join(parts)

    def contractions(self):
        words = ["it", "we", "HE", "they", "Ich", "", " ", "1", "é", "\n"]
        return "".join(self.random.choice(words) + self.random.choice(CONTRACTIONS)
                       for _ in self.times(1, 6))

    def special(self):
        def piece():
            token = self.random.choice(self.specials)
            if self.random.random() < 0.2:
                token = token[:self.random.randint(0, len(token))]
            return self.random.choice(("", "", " ", "  ", "\n", "\u3000", "a", "é", "_", "7")) + token
        tail = self.random.choice(("", " ", " x", "x", "\t\n", ".", "\u0301"))
        return "".join(piece() for _ in self.times(1, 4)) + tail

    def repeats(self):
        unit = self.random.choice(("a", "ab", " ", "\n", "the", "=", "-", "ha", "字", "é", "!?", "0"))
        return unit * self.random.randint(1, 40)

    def mixture(self):
        return "".join(self.random.choice(self.kinds[:-1])() for _ in self.times(2, 3))[:120]
