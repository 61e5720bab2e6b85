//! Drawing characters without bias.

use zeroize::Zeroizing;

use super::Charset;
use crate::secret::Secret;

/// Draws of a whole password before it is built instead.
const TRIES: usize = 64;

/// A password of `length` characters that keeps all rules. See [`generate`](super::PasswordPolicy::generate).
pub(super) fn password(length: usize, rules: &[Charset], random: &mut dyn FnMut(&mut [u8])) -> Secret<String> {
    let mut all: Vec<char> = rules.iter().flat_map(|rule| rule.chars.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    let mut dice = Dice { random, left: Zeroizing::new(Vec::new()) };
    let mut chars = Zeroizing::new(Vec::with_capacity(length));
    for _ in 0..TRIES {
        chars.clear();
        chars.extend((0..length).map(|_| dice.pick(&all)));
        if rules.iter().all(|rule| rule.kept_by(&chars)) {
            return Secret::new(chars.iter().collect());
        }
    }
    chars.clear();
    for rule in rules {
        chars.extend((0..rule.min).map(|_| dice.pick(&rule.chars)));
    }
    while chars.len() < length {
        chars.push(dice.pick(&all));
    }
    for last in (1..chars.len()).rev() {
        let other = dice.below(last + 1);
        chars.swap(last, other);
    }
    Secret::new(chars.iter().collect())
}

impl Charset {
    fn kept_by(&self, password: &[char]) -> bool {
        password.iter().filter(|c| self.chars.binary_search(c).is_ok()).count() >= self.min
    }
}

/// Random numbers from random bytes.
struct Dice<'a> {
    random: &'a mut dyn FnMut(&mut [u8]),
    left: Zeroizing<Vec<u8>>,
}

impl Dice<'_> {
    fn pick(&mut self, from: &[char]) -> char {
        let index = self.below(from.len());
        from.get(index).copied().unwrap_or('-')
    }

    /// A number below `sides`, each equally likely: draws beyond the last whole multiple are thrown away. Two bytes do for
    /// the charsets that exist, four for all of Unicode.
    fn below(&mut self, sides: usize) -> usize {
        let sides = u32::try_from(sides).unwrap_or(u32::MAX).max(1);
        let range: u64 = if sides <= 256 { 1 << 16 } else { 1 << 32 };
        let fair = range - range % u64::from(sides);
        loop {
            let mut draw = (u64::from(self.byte()) << 8) | u64::from(self.byte());
            if range > 1 << 16 {
                draw = (draw << 16) | (u64::from(self.byte()) << 8) | u64::from(self.byte());
            }
            if draw < fair {
                return usize::try_from(draw % u64::from(sides)).unwrap_or(0);
            }
        }
    }

    fn byte(&mut self) -> u8 {
        if let Some(byte) = self.left.pop() {
            return byte;
        }
        self.left.resize(64, 0);
        (self.random)(&mut self.left);
        self.left.pop().unwrap_or_default()
    }
}
