//! Where all randomness comes from: a list of small numbers, drawn from a seed or read from a list.
//!
//! A life is a function of its list. So a failing one is replayed from its seed, and made smaller by trying
//! shorter lists and smaller numbers: zero is always the plainest choice.

/// The numbers of one life.
pub struct Choices {
    random: Option<u64>,
    /// What was drawn or is to be read.
    pub made: Vec<u32>,
    next: usize,
}

impl Choices {
    /// Drawn from a seed.
    pub fn from_seed(seed: u64) -> Self {
        Self {
            random: Some(seed),
            made: Vec::new(),
            next: 0,
        }
    }

    /// Read from a list; zeros when it ends.
    pub fn from_list(made: Vec<u32>) -> Self {
        Self {
            random: None,
            made,
            next: 0,
        }
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        let number = match &mut self.random {
            Some(state) => {
                let number = (splitmix(state) >> 32) as u32 % limit;
                self.made.push(number);
                number
            }
            None => self.made.get(self.next).copied().unwrap_or(0) % limit,
        };
        self.next += 1;
        number
    }

    /// True in so many of a hundred cases; false is the plain choice.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) >= 100 - percent
    }

    /// One of the options; the first is the plainest.
    pub fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(options.len() as u32) as usize]
    }
}

/// Vigna's SplitMix64.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Makes a failing list smaller as long as it fails in the same way, with at most `tries` runs.
pub fn shrink(mut list: Vec<u32>, tries: usize, mut fails: impl FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut left = tries;
    let mut attempt = |candidate: &Vec<u32>| {
        left = left.saturating_sub(1);
        left > 0 && fails(candidate)
    };
    loop {
        let before = list.clone();
        let mut size = list.len().max(1);
        while size > 0 {
            let mut at = 0;
            while at < list.len() {
                let end = (at + size).min(list.len());
                let mut shorter = list.clone();
                shorter.drain(at..end);
                let mut zeroed = list.clone();
                zeroed[at..end].fill(0);
                if attempt(&shorter) {
                    list = shorter;
                } else if list[at..end].iter().any(|&n| n != 0) && attempt(&zeroed) {
                    list = zeroed;
                    at = end;
                } else {
                    at = end;
                }
            }
            size /= 2;
        }
        for at in 0..list.len() {
            while list[at] > 0 {
                let mut smaller = list.clone();
                smaller[at] /= 2;
                if !attempt(&smaller) {
                    break;
                }
                list = smaller;
            }
        }
        if list == before {
            return list;
        }
    }
}
