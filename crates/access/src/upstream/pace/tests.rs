use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

/// Longer than anything takes that should come, and than several rests.
const SOON: Duration = Duration::from_secs(10);

/// A paced connection and its other end.
async fn pair(speech: Speech) -> (Paced, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    far.set_nodelay(true).unwrap();
    (Paced::new(near, speech, Buffers::default()), far)
}

/// So much comes, and is read.
async fn hears(near: &mut Paced, far: &mut TcpStream, bytes: usize) {
    let (said, mut heard) = (vec![7; bytes], vec![0; bytes]);
    let (wrote, read) = tokio::join!(far.write_all(&said), near.read_exact(&mut heard));
    wrote.and(read.map(drop)).unwrap();
    assert!(heard == said);
}

/// Whether there is nothing to read at this moment.
fn is_dry(near: &mut Paced, cx: &mut Context<'_>) -> bool {
    Pin::new(near).poll_read(cx, &mut ReadBuf::new(&mut [0; 1])).is_pending()
}

/// Looks once, when nothing has come.
async fn looks(near: &mut Paced) {
    std::future::poll_fn(|cx| {
        assert!(is_dry(near, cx));
        Poll::Ready(())
    })
    .await;
}

fn rests(near: &Paced) -> bool {
    matches!(near.socket, Socket::Resting(..))
}

#[tokio::test(start_paused = true)]
async fn only_a_long_answer_is_waited_for() {
    let (mut near, mut far) = pair(Speech::Http1).await;
    hears(&mut near, &mut far, LONG - 1).await;
    looks(&mut near).await;
    assert!(!rests(&near));
    hears(&mut near, &mut far, 1).await;
    looks(&mut near).await;
    assert!(rests(&near));
    hears(&mut near, &mut far, 1).await;
    looks(&mut near).await;
    assert!(rests(&near), "a rest that brought something is followed by another");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_comes_nobody_looks_and_the_next_piece_wakes() {
    let (mut near, mut far) = pair(Speech::Http1).await;
    hears(&mut near, &mut far, LONG).await;
    looks(&mut near).await;
    assert!(timeout(REST * 20, near.read_u8()).await.is_err());
    assert!(!rests(&near) && near.ahead.buffer.is_none(), "it is heard again, and nothing is held");
    let (wrote, read) = tokio::join!(
        async {
            tokio::time::sleep(REST).await;
            far.write_u8(9).await
        },
        timeout(SOON, near.read_u8())
    );
    wrote.unwrap();
    assert_eq!(read.unwrap().unwrap(), 9);
}

#[tokio::test(start_paused = true)]
async fn news_after_a_pause_is_carried_at_once() {
    let (mut near, mut far) = pair(Speech::Http1).await;
    hears(&mut near, &mut far, LONG).await;
    assert!(timeout(PAUSE * 2, near.read_u8()).await.is_err());
    hears(&mut near, &mut far, 100).await;
    looks(&mut near).await;
    assert!(!rests(&near));
}

#[tokio::test(start_paused = true)]
async fn in_a_dialogue_nobody_rests() {
    for (speech, is_awaited) in [(Speech::Http1, false), (Speech::Http2, true)] {
        let (mut near, mut far) = pair(speech).await;
        hears(&mut near, &mut far, LONG).await;
        near.write_all(b"more").await.unwrap();
        hears(&mut near, &mut far, 1000).await;
        looks(&mut near).await;
        assert_eq!(rests(&near), is_awaited, "{speech:?}");
        near.write_all(b"!").await.unwrap();
        let mut heard = [0; 5];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"more!", "what is said in a rest arrives as well");
    }
}

#[tokio::test]
async fn who_writes_more_than_is_taken_ends_the_rest_and_the_reader_hears_on() {
    let (mut near, mut far) = pair(Speech::Http2).await;
    hears(&mut near, &mut far, LONG).await;
    let (mut reader, mut writer) = tokio::io::split(near);
    // As long as nobody else would wake him.
    let reader = tokio::spawn(async move { reader.read_u8().await });
    tokio::task::yield_now().await;
    let writer = tokio::spawn(async move { writer.write_all(&vec![0; 64 << 20]).await });
    tokio::time::sleep(REST * 2).await;
    far.write_u8(9).await.unwrap();
    assert_eq!(timeout(SOON, reader).await.unwrap().unwrap().unwrap(), 9);
    drop(far);
    assert!(timeout(SOON, writer).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn a_rest_ends_with_the_connection() {
    let (mut near, mut far) = pair(Speech::Http1).await;
    hears(&mut near, &mut far, LONG).await;
    looks(&mut near).await;
    far.write_all(b"end").await.unwrap();
    drop(far);
    let mut rest = Vec::new();
    timeout(SOON, near.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, b"end");

    let (mut near, mut far) = pair(Speech::Http1).await;
    hears(&mut near, &mut far, LONG).await;
    looks(&mut near).await;
    near.shutdown().await.unwrap();
    assert_eq!(timeout(SOON, far.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    // What is closed with something unread is reset.
    near.write_all(b"?").await.unwrap_err();
    far.set_zero_linger().unwrap();
    drop(far);
    assert!(timeout(SOON, near.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn all_comes_in_its_order_at_any_pace() {
    let (mut near, mut far) = pair(Speech::Http1).await;
    let said: Vec<u8> = (0..6_000_000_u32).map(|n| (n % 251) as u8).collect();
    let pieces = said.clone();
    let says = async move {
        let mut rest = pieces.as_slice();
        for size in (1..).map(|n: usize| n * 7919 % 50_000 + 1) {
            let (piece, later) = rest.split_at(size.min(rest.len()));
            far.write_all(piece).await.unwrap();
            rest = later;
            match size % 5 {
                _ if rest.is_empty() => break,
                0 => tokio::time::sleep(REST * 2).await,
                1 => tokio::task::yield_now().await,
                _ => {}
            }
        }
    };
    let hears = async {
        let mut heard = Vec::new();
        near.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let ((), heard) = tokio::join!(says, hears);
    assert!(heard == said);
}

#[tokio::test]
async fn what_is_there_is_read_at_once_and_given_in_pieces() {
    let (mut near, mut far) = pair(Speech::Http1).await;
    far.write_all(&[1; 5000]).await.unwrap();
    near.read_exact(&mut [0; 10]).await.unwrap();
    assert_eq!(near.ahead.end - near.ahead.start, 4990);
    far.write_all(&[2; 10]).await.unwrap();
    let mut heard = vec![0; 5000];
    near.read_exact(&mut heard).await.unwrap();
    assert!(heard[..4990] == [1; 4990] && heard[4990..] == [2; 10]);
    assert!(near.ahead.buffer.is_none());
    looks(&mut near).await;
    for _ in 0..BUFFERS * 2 {
        near.ahead.buffers.give(vec![0; AHEAD].into());
    }
    assert_eq!(near.ahead.buffers.0.lock().len(), BUFFERS);
}
