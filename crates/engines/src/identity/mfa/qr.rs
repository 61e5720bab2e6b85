//! A QR code as a PNG: one bit for each pixel, with the white edge that readers need.

use std::io::Write;

use dewdrop_core::Fault;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use qrcode::{Color, QrCode};

/// Modules of white around the code.
const EDGE: usize = 4;

/// The PNG of a text, `size` pixels wide; wider when the code needs it.
///
/// # Errors
/// The text is too long for a QR code.
pub fn png(text: &str, size: usize) -> Result<Vec<u8>, Fault> {
    let code = QrCode::new(text).map_err(|_| Fault::bad_request("the issuer is too long for a QR code"))?;
    let modules = code.width() + 2 * EDGE;
    let scale = (size / modules).max(1);
    let size = size.max(modules);
    let lead = (size - scale * code.width()) / 2;
    let colors = code.to_colors();
    let module = |at: usize| at.checked_sub(lead).map(|at| at / scale).filter(|at| *at < code.width());
    let is_dark = |x: usize, y: usize| match (module(x), module(y)) {
        (Some(x), Some(y)) => colors.get(y * code.width() + x) == Some(&Color::Dark),
        _ => false,
    };
    let mut rows = Vec::with_capacity(size * (1 + size.div_ceil(8)));
    for y in 0..size {
        rows.push(0);
        for byte in 0..size.div_ceil(8) {
            let white = |bit: &usize| !is_dark(byte * 8 + bit, y);
            rows.push((0..8).filter(white).fold(0u8, |byte, bit| byte | 0x80 >> bit));
        }
    }
    file(size, &rows)
}

fn file(size: usize, rows: &[u8]) -> Result<Vec<u8>, Fault> {
    let broken = |_| Fault::internal("make a PNG");
    let side = u32::try_from(size).map_err(|_| Fault::bad_request("qr_size is too large"))?.to_be_bytes();
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(rows).map_err(broken)?;
    let packed = packed.finish().map_err(broken)?;
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    // One bit of grey, no filter, no interlace.
    chunk(&mut png, b"IHDR", &[side.as_slice(), &side, &[1, 0, 0, 0, 0]].concat());
    chunk(&mut png, b"IDAT", &packed);
    chunk(&mut png, b"IEND", &[]);
    Ok(png)
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    let mut sum = Crc::new();
    sum.update(name);
    sum.update(data);
    png.extend(u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
    png.extend(name);
    png.extend(data);
    png.extend(sum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_picture_holds_the_code_with_its_edge() {
        let text = "otpauth://totp/dewdrop:ann?secret=GEZDGNBV";
        let png = png(text, 200).unwrap();
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&png[16..24], &[0, 0, 0, 200, 0, 0, 0, 200]);
        let length = u32::from_be_bytes(png[33..37].try_into().unwrap()) as usize;
        let mut rows = Vec::new();
        flate2::read::ZlibDecoder::new(&png[41..41 + length]).read_to_end(&mut rows).unwrap();
        assert_eq!(rows.len(), 200 * 26);
        assert!(rows[1..26].iter().all(|byte| *byte == 0xff), "the edge is white");
        let code = QrCode::new(text).unwrap();
        let scale = 200 / (code.width() + 8);
        let lead = (200 - scale * code.width()) / 2;
        for (at, color) in code.to_colors().iter().enumerate() {
            let (x, y) = (lead + at % code.width() * scale, lead + at / code.width() * scale);
            let dark = rows[y * 26 + 1 + x / 8] & (0x80 >> (x % 8)) == 0;
            assert_eq!(dark, *color == Color::Dark);
        }
    }
}
