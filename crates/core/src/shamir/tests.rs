use proptest::prelude::*;
use vsss_rs::Gf256;

use super::{ShamirError, combine, invert, multiply, split};

/// Shares of one throw-away `bao` 2.7.2 server, initialised with 5 shares and a threshold of 3.
const FROM_BAO: [&str; 5] = [
    "2fb868fd3f0072c0bb3b1b9ef870bbd56568f246858eeb5ccd2954a4c44c0013d7",
    "6a49a06a664ee2143ed156969d9b8c374de4addf53428d9d83af8f240bdb88517e",
    "428359842d8fff8b722d6c8cea8ab657c27c5c8f92676175f74058212f5ce19f56",
    "28dd7479221f63b82adca912d4919a5750bdb40abc275d14878d83fac429c38deb",
    "3955ee464d8f9128acbd8f0cfe6593d6683818cb75f8360c33952f204625fa7753",
];

/// A stream that is good enough for tests, from a seed.
fn stream(mut seed: u64) -> impl FnMut(&mut [u8]) {
    move |bytes| {
        for byte in bytes {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (seed >> 33) as u8;
        }
    }
}

fn shares_of(secret: &[u8], shares: u8, threshold: u8, seed: u64) -> Vec<Vec<u8>> {
    let shares = split(secret, shares, threshold, &mut stream(seed)).unwrap();
    shares.iter().map(|share| share.expose().clone()).collect()
}

/// Schoolbook multiplication of polynomials, then division with remainder by 0x11b.
fn slow_multiply(a: u8, b: u8) -> u8 {
    let mut product = (0..8).filter(|bit| b & (1 << bit) != 0).fold(0_u32, |sum, bit| sum ^ (u32::from(a) << bit));
    for bit in (8..16).rev() {
        if product & (1 << bit) != 0 {
            product ^= 0x11b << (bit - 8);
        }
    }
    u8::try_from(product).unwrap()
}

#[test]
fn the_field_is_right_for_every_pair() {
    for a in 0..=255_u8 {
        for b in 0..=255_u8 {
            assert_eq!(multiply(a, b), slow_multiply(a, b), "{a} * {b}");
        }
        assert_eq!(multiply(a, invert(a)), u8::from(a != 0), "1 / {a}");
    }
}

#[test]
fn shares_made_by_bao_combine_to_one_key() {
    let shares: Vec<Vec<u8>> = FROM_BAO.iter().map(|share| hex::decode(share).unwrap()).collect();
    assert!(shares.iter().all(|share| share.len() == 33));
    let mut keys = Vec::new();
    for a in 0..5 {
        for b in a + 1..5 {
            for c in b + 1..5 {
                keys.push(combine(&[&shares[c], &shares[a], &shares[b]]).unwrap());
            }
            assert!(combine(&[&shares[a], &shares[b]]).unwrap() != keys[0], "two are not enough");
        }
    }
    assert_eq!(keys[0].expose().len(), 32);
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert!(combine(&shares).unwrap() == keys[0], "more than the threshold is fine");
}

#[test]
fn the_other_implementation_reads_ours() {
    let secret = b"a key of thirty-two bytes, about";
    let ours = shares_of(secret, 7, 4, 1);
    // It puts the position first.
    let theirs: Vec<Vec<u8>> = ours
        .iter()
        .map(|share| {
            let (x, values) = share.split_last().unwrap();
            [&[*x], values].concat()
        })
        .collect();
    assert_eq!(Gf256::combine_bytes(&theirs[2..6]).unwrap(), secret);
    assert_ne!(Gf256::combine_bytes(&theirs[2..5]).unwrap(), secret);
}

#[test]
fn what_cannot_be_split() {
    let mut random = stream(1);
    let mut error = |secret: &[u8], shares, threshold| split(secret, shares, threshold, &mut random).unwrap_err();
    assert_eq!(error(b"", 5, 3), ShamirError::EmptySecret);
    assert_eq!(error(b"x", 5, 1), ShamirError::LowThreshold(1));
    assert_eq!(error(b"x", 0, 0), ShamirError::LowThreshold(0));
    assert_eq!(error(b"x", 3, 5), ShamirError::HighThreshold { threshold: 5, shares: 3 });
}

#[test]
fn what_cannot_be_combined() {
    let none: [&[u8]; 0] = [];
    assert_eq!(combine(&none).unwrap_err(), ShamirError::TooFewShares(0));
    let error = |shares: &[&[u8]]| combine(shares).unwrap_err();
    assert_eq!(error(&[&[1, 2]]), ShamirError::TooFewShares(1));
    assert_eq!(error(&[&[1, 2], &[]]), ShamirError::ShortShare(2));
    assert_eq!(error(&[&[1], &[1, 2]]), ShamirError::ShortShare(1));
    assert_eq!(error(&[&[1, 2], &[1, 2, 3]]), ShamirError::OtherLength(2));
    assert_eq!(error(&[&[1, 2], &[1, 0]]), ShamirError::ZeroPosition(2));
    assert_eq!(error(&[&[1, 2], &[1, 3], &[7, 2]]), ShamirError::SamePosition(1, 3));
    let texts = format!("{} / {}", error(&[&[0x5e, 2], &[0x5e, 2]]), ShamirError::TooManyShares(300));
    assert_eq!(
        texts,
        "shares 1 and 2 have the same position: give each share once / 300 shares are given: there are at most 255"
    );
}

#[test]
fn a_broken_source_of_randomness_still_ends() {
    let shares = split(b"secret", 255, 255, &mut |bytes| bytes.fill(0)).unwrap();
    let mut positions: Vec<u8> = shares.iter().map(|share| *share.expose().last().unwrap()).collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=255).collect::<Vec<u8>>());
}

proptest! {
    #[test]
    fn any_threshold_of_them_is_enough(
        secret in prop::collection::vec(any::<u8>(), 1..64),
        (shares, threshold) in (2_u8..=40).prop_flat_map(|shares| (Just(shares), 2..=shares)),
        seed in any::<u64>(),
        order in any::<prop::sample::Index>(),
    ) {
        let mut given = shares_of(&secret, shares, threshold, seed);
        let middle = order.index(given.len());
        given.rotate_left(middle);
        let enough = combine(&given[..usize::from(threshold)]).unwrap();
        prop_assert_eq!(enough.expose(), &secret);
        let all = combine(&given).unwrap();
        prop_assert_eq!(all.expose(), &secret);
        prop_assert!(given.iter().all(|share| share.len() == secret.len() + 1));
    }

    #[test]
    fn no_bytes_panic(shares in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..6)) {
        let _ = combine(&shares);
    }
}
