use super::*;

fn key(byte: u8) -> LockedKey {
    LockedKey::copy_of(&[byte; KEY_BYTES]).unwrap()
}

#[tokio::test]
async fn any_one_of_several_seals_opens_the_same_root_key() {
    let root = LockedKey::random().unwrap();
    let shamir = KeySeal::shamir(key(1));
    let fixed = KeySeal::fixed("hsm-less", ("2026".into(), key(2)), None);
    let keys = WrappedKeys::wrap(&[&shamir, &fixed], &root).await.unwrap();
    for seal in [&shamir as &dyn Seal, &fixed] {
        let (opened, by) = keys.unwrap(&[seal]).await.unwrap();
        assert_eq!(opened.expose(), root.expose());
        assert_eq!(by, seal.id());
    }
    let wrong = KeySeal::shamir(key(9));
    let (opened, by) = keys.unwrap(&[&wrong, &fixed]).await.unwrap();
    assert_eq!((opened.expose(), by.as_str()), (root.expose(), "hsm-less"));
    let error = keys.unwrap(&[&wrong]).await.unwrap_err();
    assert!(error.to_string().contains("wrong key"), "{error}");
    assert!(matches!(keys.unwrap(&[]).await, Err(SealError::NoneOpens(_))));
}

#[tokio::test]
async fn a_static_seal_reads_with_its_previous_key() {
    let root = LockedKey::random().unwrap();
    let old = KeySeal::fixed("s", ("a".into(), key(1)), None);
    let keys = WrappedKeys::wrap(&[&old], &root).await.unwrap();
    let both = KeySeal::fixed("s", ("b".into(), key(2)), Some(("a".into(), key(1))));
    assert_eq!(keys.unwrap(&[&both]).await.unwrap().0.expose(), root.expose());
    assert_eq!(both.wrap(&root).await.unwrap().key_id, "b", "it wraps with the current one");
    let new = KeySeal::fixed("s", ("b".into(), key(2)), None);
    assert!(matches!(new.unwrap(&keys.keys[0]).await, Err(SealError::UnknownKey { .. })));
}

#[tokio::test]
async fn a_wrapped_key_is_bound_to_its_seal() {
    let root = LockedKey::random().unwrap();
    let wrapped = KeySeal::fixed("one", ("k".into(), key(1)), None).wrap(&root).await.unwrap();
    let other = KeySeal::fixed("two", ("k".into(), key(1)), None);
    assert!(matches!(other.unwrap(&wrapped).await, Err(SealError::WrongKey(_))));
    for blob in ["", "AAAA", "not base64!"] {
        let bad = WrappedKey { blob: blob.into(), ..wrapped.clone() };
        assert!(matches!(
            KeySeal::fixed("one", ("k".into(), key(1)), None).unwrap(&bad).await,
            Err(SealError::WrongKey(_))
        ));
    }
}

#[tokio::test]
async fn they_are_kept_below_the_barrier() {
    let memory = crate::Memory::new();
    assert_eq!(WrappedKeys::load(&memory).await.unwrap(), None);
    let keys = WrappedKeys::wrap(&[&KeySeal::shamir(key(1))], &LockedKey::random().unwrap()).await.unwrap();
    let revision = memory.commit(keys.batch().unwrap()).await.unwrap();
    assert_eq!(WrappedKeys::load(&memory).await.unwrap(), Some((keys, revision)));
}

#[test]
fn a_static_key_may_be_raw_hex_or_base64() {
    let bytes: Vec<u8> = (0xe0..=0xff).collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let forms = [
        bytes.clone(),
        hex.clone().into_bytes(),
        format!("{}\n", hex.to_uppercase()).into_bytes(),
        STANDARD.encode(&bytes).into_bytes(),
        format!(" {}\n", URL_SAFE_NO_PAD.encode(&bytes)).into_bytes(),
    ];
    for form in forms {
        assert_eq!(parse_static_key(&form).unwrap().expose().as_slice(), bytes);
    }
    for bad in [b"".as_slice(), b"short", &[0; 33], &b"zz".repeat(32)] {
        assert!(matches!(parse_static_key(bad), Err(SealError::BadKey)));
    }
}
