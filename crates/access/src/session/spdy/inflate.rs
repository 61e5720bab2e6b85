//! Header blocks of SPDY: one zlib stream for each direction, with the dictionary that the protocol gives (draft-mbelshe-
//! httpbis-spdy-00, section 2.6.10.1), flushed after each block.

use std::sync::OnceLock;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// As far as a stream may point back.
const WINDOW: usize = 32 << 10;
/// How the stream names the dictionary: its Adler-32.
const DICTIONARY_ID: [u8; 4] = [0xe3, 0xc6, 0xa7, 0xc2];
/// Bits of the two bytes of a zlib stream: deflate, and a dictionary is named.
const DEFLATE: u8 = 0x08;
const HAS_DICTIONARY: u8 = 0x20;

/// Words of the dictionary; each stands there with its length in four bytes before it.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language",
    "accept-ranges", "age", "allow", "authorization", "cache-control", "connection", "content-base", "content-encoding",
    "content-language", "content-length", "content-location", "content-md5", "content-range", "content-type", "date", "etag",
    "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
    "last-modified", "location", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer",
    "retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning",
    "www-authenticate", "method", "get", "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie",
    "keep-alive", "origin",
];
/// What follows them.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
    publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// Reads the blocks of one direction.
pub struct Inflater {
    state: DecompressorOxide,
    window: Vec<u8>,
    at: usize,
    is_begun: bool,
}

impl Default for Inflater {
    fn default() -> Self {
        let mut window = dictionary().to_vec();
        let at = window.len();
        window.resize(WINDOW, 0);
        Self { state: DecompressorOxide::new(), window, at, is_begun: false }
    }
}

impl Inflater {
    /// A block, in plain; `None`: it is none, or longer than `limit`.
    pub fn read(&mut self, mut compressed: &[u8], limit: usize) -> Option<Vec<u8>> {
        if !std::mem::replace(&mut self.is_begun, true) {
            compressed = after_beginning(compressed)?;
        }
        let mut plain = Vec::new();
        loop {
            let (status, read, wrote) =
                decompress(&mut self.state, compressed, &mut self.window, self.at, TINFL_FLAG_HAS_MORE_INPUT);
            compressed = compressed.get(read..)?;
            plain.extend_from_slice(self.window.get(self.at..self.at + wrote)?);
            self.at = (self.at + wrote) % WINDOW;
            match status {
                _ if plain.len() > limit => return None,
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput if compressed.is_empty() => return Some(plain),
                _ => return None,
            }
        }
    }
}

/// What comes after the two bytes of zlib and the name of the dictionary.
fn after_beginning(stream: &[u8]) -> Option<&[u8]> {
    let [method, flags, rest @ ..] = stream else { return None };
    let is_whole = (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0;
    let is_ours = method & 0x0f == DEFLATE && flags & HAS_DICTIONARY != 0;
    rest.strip_prefix(&DICTIONARY_ID).filter(|_| is_whole && is_ours)
}

pub fn dictionary() -> &'static [u8] {
    static DICTIONARY: OnceLock<Vec<u8>> = OnceLock::new();
    DICTIONARY.get_or_init(|| {
        let mut bytes = Vec::with_capacity(1423);
        for word in WORDS {
            bytes.extend(u32::try_from(word.len()).unwrap_or_default().to_be_bytes());
            bytes.extend_from_slice(word.as_bytes());
        }
        bytes.extend_from_slice(TEXT.as_bytes());
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_that_of_the_protocol() {
        let adler = dictionary().iter().fold((1u32, 0u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65521;
            (a, (b + a) % 65521)
        });
        assert_eq!((dictionary().len(), (adler.1 << 16 | adler.0).to_be_bytes()), (1423, DICTIONARY_ID));
    }
}
