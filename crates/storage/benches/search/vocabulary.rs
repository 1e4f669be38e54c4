//! Words of many scripts, as often as people say them: few words most of the time (Zipf's law).
//!
//! The words mean nothing, but have the lengths, letters and spaces of their scripts: an index
//! sees how many different words and neighbours there are, and how many bytes they take.

use conclave_words::Words;

/// Words of each script.
const WORDS: usize = 30_000;

/// What a script is made of, for made words.
struct Script {
    name: &'static str,
    /// Its letters, as ranges; of Chinese and Korean the first thousands.
    letters: &'static [(u32, u32)],
    /// Letters of a word.
    length: (usize, usize),
    /// What stands between words.
    space: &'static str,
}

const SCRIPTS: [Script; 13] = [
    script("Latin", &[(0x61, 0x7a)], (2, 9), " "),
    script(
        "Latin with accents",
        &[(0x61, 0x7a), (0xe0, 0xf6)],
        (2, 9),
        " ",
    ),
    script("Cyrillic", &[(0x430, 0x44f)], (2, 10), " "),
    script("Greek", &[(0x3b1, 0x3c9)], (2, 10), " "),
    script("Hebrew", &[(0x5d0, 0x5ea)], (2, 6), " "),
    script("Arabic", &[(0x627, 0x63a), (0x641, 0x64a)], (2, 7), " "),
    script("Devanagari", &[(0x915, 0x939), (0x93e, 0x94c)], (2, 7), " "),
    script("Tamil", &[(0xb95, 0xbb9), (0xbbe, 0xbcc)], (3, 9), " "),
    script("Georgian", &[(0x10d0, 0x10f0)], (3, 9), " "),
    script("Han", &[(0x4e00, 0x59ff)], (1, 3), ""),
    script(
        "Kana and Han",
        &[(0x3042, 0x3093), (0x30a2, 0x30f3), (0x5000, 0x53ff)],
        (1, 4),
        "",
    ),
    script("Hangul", &[(0xac00, 0xb3ff)], (2, 4), " "),
    script("Thai", &[(0xe01, 0xe2e), (0xe30, 0xe38)], (3, 7), ""),
];

const fn script(
    name: &'static str,
    letters: &'static [(u32, u32)],
    length: (usize, usize),
    space: &'static str,
) -> Script {
    Script {
        name,
        letters,
        length,
        space,
    }
}

/// Ends some messages.
const EMOJI: [&str; 6] = ["🎉", "👍🏽", "❤️", "😂", "👩‍💻", "✅"];

/// A xorshift generator: the same sequence each time.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((self.unit() * end as f64) as usize).min(end - 1)
    }
}

/// Vocabularies, the most common word of each first.
pub(crate) struct Vocabulary {
    tongues: Vec<Tongue>,
    /// How often each word and those before it are said.
    sums: Vec<f64>,
}

pub(crate) struct Tongue {
    pub(crate) name: &'static str,
    pub(crate) words: Vec<String>,
    pub(crate) space: &'static str,
}

impl Vocabulary {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        let (mut sums, mut sum) = (Vec::new(), 0.0);
        for rank in 0..WORDS {
            sum += 1.0 / (rank as f64 + 2.7);
            sums.push(sum);
        }
        let tongue = |script: &Script| Tongue {
            name: script.name,
            words: words(script, chance),
            space: script.space,
        };
        let tongues = SCRIPTS.iter().map(tongue).collect();
        Self { tongues, sums }
    }

    pub(crate) fn tongue(&self, chance: &mut Chance) -> &Tongue {
        &self.tongues[chance.below(self.tongues.len())]
    }

    /// Returns a letter that is searched for alone.
    pub(crate) fn letter(&self, chance: &mut Chance) -> String {
        let han = self.tongues.iter().find(|tongue| tongue.name == "Han");
        let words = &han.expect("it is one of the scripts").words;
        words[chance.below(100)].chars().take(1).collect()
    }

    /// Returns a message, and its first two words.
    pub(crate) fn message(&self, chance: &mut Chance) -> (String, String) {
        let tongue = self.tongue(chance);
        let count = 3 + chance.below(17);
        let said: Vec<&str> = (0..count)
            .map(|_| {
                let sought = chance.unit() * self.sums[WORDS - 1];
                let rank = self.sums.partition_point(|sum| *sum < sought);
                tongue.words[rank.min(WORDS - 1)].as_str()
            })
            .collect();
        let mut text = said.join(tongue.space);
        match chance.below(40) {
            0 => text += " https://example.org/path/7",
            1 => text += &format!(" v{}.{}", chance.below(9), chance.below(9)),
            2..6 => text += EMOJI[chance.below(EMOJI.len())],
            _ => {}
        }
        (text, said[..2].join(tongue.space))
    }
}

/// Returns words that are found alone.
fn words(script: &Script, chance: &mut Chance) -> Vec<String> {
    let mut words = Vec::with_capacity(WORDS);
    while words.len() < WORDS {
        let word = word(script, chance);
        if Words::of(&word).tokens().len() == 1 {
            words.push(word);
        }
    }
    words
}

/// Letters are not equally common either.
fn word(script: &Script, chance: &mut Chance) -> String {
    let (least, most) = script.length;
    let length = least + chance.below(most - least + 1);
    let letter = |_| {
        let (first, last) = script.letters[chance.below(script.letters.len())];
        let share = chance.unit();
        let at = (share * share * f64::from(last - first + 1)) as u32;
        char::from_u32(first + at.min(last - first)).unwrap_or('a')
    };
    // Some scripts have holes among their letters.
    let word = (0..length).map(letter);
    word.filter(|letter| letter.is_alphabetic()).collect()
}
