//! Shamir's secret sharing over GF(2⁸), modulo x⁸+x⁴+x³+x+1, byte by byte, in Vault's layout: a share is one value for each
//! byte of the secret, then one byte that says where the polynomial was evaluated. Any `threshold` shares give the
//! secret back; fewer say nothing of it.
//!
//! Arithmetic on secrets has no branches and no table look-ups, so its time tells nothing. Positions (the last byte of a
//! share) are no secrets. A wrong or foreign share cannot be told from a right one here: check the result by what it
//! opens.

#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

use crate::Secret;

/// Why a secret cannot be split or put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShamirError {
    /// There is nothing to split.
    #[error("the secret is empty")]
    EmptySecret,
    /// A threshold of one would make each share the secret itself.
    #[error("the threshold is {0}: it must be 2 or more")]
    LowThreshold(u8),
    /// The secret could never be put together again.
    #[error("the threshold is {threshold}, but there are only {shares} shares")]
    HighThreshold {
        /// As asked for.
        threshold: u8,
        /// As asked for.
        shares: u8,
    },
    /// One share says nothing.
    #[error("{0} shares are given: at least 2 are needed")]
    TooFewShares(usize),
    /// More than there can be.
    #[error("{0} shares are given: there are at most 255")]
    TooManyShares(usize),
    /// A share holds a value and a position at least.
    #[error("share {0} is too short: it needs 2 bytes or more")]
    ShortShare(usize),
    /// Shares of one secret have one length.
    #[error("share {0} has another length than the first: they belong to different secrets")]
    OtherLength(usize),
    /// The position of the secret itself, which no share has.
    #[error("share {0} is no share: its last byte is zero")]
    ZeroPosition(usize),
    /// The same share was given twice, or shares of different splits.
    #[error("shares {0} and {1} have the same position: give each share once")]
    SamePosition(usize, usize),
}

/// Splits a secret into `shares` shares, of which any `threshold` give it back. `random` fills a buffer with random bytes of
/// cryptographic quality; it is asked for one byte per byte of the secret and step of the threshold, and for the positions.
///
/// # Errors
/// The secret is empty, or not `2 <= threshold <= shares`.
pub fn split(
    secret: &[u8],
    shares: u8,
    threshold: u8,
    random: &mut dyn FnMut(&mut [u8]),
) -> Result<Vec<Secret<Vec<u8>>>, ShamirError> {
    if secret.is_empty() {
        return Err(ShamirError::EmptySecret);
    }
    if threshold < 2 {
        return Err(ShamirError::LowThreshold(threshold));
    }
    if threshold > shares {
        return Err(ShamirError::HighThreshold { threshold, shares });
    }
    let positions = positions(shares, random);
    // Reserved in full, so that growing leaves no copies behind.
    let mut values: Vec<Zeroizing<Vec<u8>>> =
        positions.iter().map(|_| Zeroizing::new(Vec::with_capacity(secret.len() + 1))).collect();
    let mut coefficients = Zeroizing::new(vec![0_u8; usize::from(threshold) - 1]);
    for byte in secret {
        random(&mut coefficients);
        for (share, x) in values.iter_mut().zip(&positions) {
            let slope = coefficients.iter().fold(0, |sum, coefficient| multiply(sum, *x) ^ coefficient);
            share.push(multiply(slope, *x) ^ byte);
        }
    }
    let finish = |(mut share, x): (Zeroizing<Vec<u8>>, &u8)| {
        share.push(*x);
        Secret::new(std::mem::take(&mut *share))
    };
    Ok(values.into_iter().zip(&positions).map(finish).collect())
}

/// Puts a secret together. With fewer shares than the threshold, or foreign ones, the result is another secret.
///
/// # Errors
/// What is given cannot be shares of one secret. Shares are counted from 1.
pub fn combine<S: AsRef<[u8]>>(shares: &[S]) -> Result<Secret<Vec<u8>>, ShamirError> {
    let mut parts: Vec<(u8, &[u8])> = Vec::with_capacity(shares.len());
    for (number, share) in (1..).zip(shares) {
        let (x, values) = match share.as_ref().split_last() {
            None | Some((_, [])) => return Err(ShamirError::ShortShare(number)),
            Some((0, _)) => return Err(ShamirError::ZeroPosition(number)),
            Some((x, values)) => (*x, values),
        };
        if parts.first().is_some_and(|(_, first)| first.len() != values.len()) {
            return Err(ShamirError::OtherLength(number));
        }
        if let Some(same) = parts.iter().position(|(other, _)| *other == x) {
            return Err(ShamirError::SamePosition(same + 1, number));
        }
        parts.push((x, values));
    }
    if parts.len() < 2 {
        return Err(ShamirError::TooFewShares(parts.len()));
    }
    if parts.len() > 255 {
        return Err(ShamirError::TooManyShares(parts.len()));
    }
    let length = parts.first().map_or(0, |(_, values)| values.len());
    let mut secret = Zeroizing::new(vec![0_u8; length]);
    for (x, values) in &parts {
        let weight = weight(*x, parts.iter().map(|(x, _)| *x));
        for (byte, value) in secret.iter_mut().zip(*values) {
            *byte ^= multiply(weight, *value);
        }
    }
    Ok(Secret::new(std::mem::take(&mut *secret)))
}

/// How much the value at `x` counts in the value at zero (Lagrange).
fn weight(x: u8, all: impl Iterator<Item = u8>) -> u8 {
    let (above, below) =
        all.filter(|other| *other != x).fold((1, 1), |(a, b), other| (multiply(a, other), multiply(b, x ^ other)));
    multiply(above, invert(below))
}

/// Different positions from 1 to 255, in random order.
fn positions(count: u8, random: &mut dyn FnMut(&mut [u8])) -> Vec<u8> {
    let mut all: Vec<u8> = (1..=u8::MAX).collect();
    for at in 0..usize::from(count) {
        let mut draw = [0_u8; 4];
        random(&mut draw);
        let left = all.len() - at;
        // The remainder favours some positions by less than one in 16 million; positions need not be uniform.
        let chosen = at + usize::try_from(u32::from_le_bytes(draw)).unwrap_or(0) % left;
        all.swap(at, chosen);
    }
    all.truncate(usize::from(count));
    all
}

/// The product, bit by bit and always in the same steps.
fn multiply(mut a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in 0..8 {
        // All ones where the bit is set, hidden from the optimiser so that it stays a mask.
        let mask = std::hint::black_box(((b >> bit) & 1).wrapping_neg());
        product ^= a & mask;
        let carry = std::hint::black_box((a >> 7).wrapping_neg());
        a = (a << 1) ^ (0x1b & carry);
    }
    product
}

/// One over `a`: a²⁵⁴, which is zero for zero.
fn invert(a: u8) -> u8 {
    // 254 is 0b1111_1110: square seven times, multiply each time.
    let mut power = a;
    let mut result = 1;
    for _ in 0..7 {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    result
}
