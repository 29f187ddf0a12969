//! Servers that misbehave before keys are exchanged: bytes on a socket.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

/// What such a server does with every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw {
    /// Takes the connection and says nothing.
    Silent,
    /// Lines before the version line, without end.
    EndlessLines,
    /// One line without end.
    EndlessLine,
    /// A version line, then noise without end.
    EndlessNoise,
    /// A packet that says it has 4 GiB.
    HugePacket,
    /// SSH_MSG_IGNORE without end instead of a key exchange.
    EndlessIgnore,
    /// SSH_MSG_DISCONNECT with escape sequences.
    RudeGoodbye,
    /// A KEXINIT whose algorithms are escape sequences, thousands of bytes of them.
    RudeAlgorithms,
    /// A KEXINIT cut in the middle of a name list.
    BrokenAlgorithms,
    /// The version line alone, then the end.
    HangsUp,
}

/// Starts one; it lives as long as the test's process.
pub fn start(what: Raw) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // The client leaves sooner or later: that ends the writing.
                let _ = serve(what, stream);
            });
        }
    });
    port
}

/// An unencrypted packet.
fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (payload.len() + 5) % 8 + 8;
    let mut bytes = u32::try_from(payload.len() + padding + 1).unwrap().to_be_bytes().to_vec();
    bytes.push(u8::try_from(padding).unwrap());
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len() + padding, 0);
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(text);
}

fn kexinit(kex: &[u8]) -> Vec<u8> {
    let mut payload = vec![20];
    payload.extend_from_slice(&[7; 16]);
    let rest: [&[u8]; 9] = [
        b"ecdsa-sha2-nistp256",
        b"aes128-ctr",
        b"aes128-ctr",
        b"hmac-sha2-256",
        b"hmac-sha2-256",
        b"none",
        b"none",
        b"",
        b"",
    ];
    text(&mut payload, kex);
    rest.iter().for_each(|list| text(&mut payload, list));
    payload.extend_from_slice(&[0; 5]);
    payload
}

fn serve(what: Raw, mut stream: TcpStream) -> std::io::Result<()> {
    let forever = |stream: &mut TcpStream, piece: &[u8]| -> std::io::Result<()> {
        let many = piece.repeat(64 * 1024 / piece.len() + 1);
        loop {
            stream.write_all(&many)?;
        }
    };
    if what == Raw::EndlessLines {
        return forever(&mut stream, b"\x1b]0;owned\x07welcome\r\n");
    }
    if what == Raw::EndlessLine {
        return forever(&mut stream, b"A");
    }
    if what == Raw::Silent {
        return std::io::copy(&mut stream, &mut std::io::sink()).map(drop);
    }
    stream.write_all(b"SSH-2.0-hostile\r\n")?;
    match what {
        Raw::EndlessNoise => forever(&mut stream, &(0..=255).map(|n: u8| n.wrapping_mul(167)).collect::<Vec<_>>())?,
        Raw::HugePacket => {
            stream.write_all(&[0xff, 0xff, 0xff, 0xfc, 4])?;
            forever(&mut stream, b"A")?;
        }
        Raw::EndlessIgnore => {
            let mut payload = vec![2];
            text(&mut payload, &[b'x'; 1000]);
            forever(&mut stream, &packet(&payload))?;
        }
        Raw::RudeGoodbye => {
            let mut payload = vec![1, 0, 0, 0, 11];
            text(&mut payload, "\x1b]0;owned\x07\x1b[2J\u{9b}31mgo away\r\u{202e}".repeat(900).as_bytes());
            text(&mut payload, b"");
            stream.write_all(&packet(&payload))?;
        }
        Raw::RudeAlgorithms => {
            stream.write_all(&packet(&kexinit("\x1b]0;owned\x07-kex,".repeat(200).as_bytes())))?;
        }
        Raw::BrokenAlgorithms => {
            let mut payload = kexinit(b"curve25519-sha256");
            payload.truncate(40);
            stream.write_all(&packet(&payload))?;
        }
        _ => {}
    }
    stream.shutdown(Shutdown::Write)?;
    // What the client still says is read, or the system would cut the connection before the client has read ours.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).map(drop)
}
