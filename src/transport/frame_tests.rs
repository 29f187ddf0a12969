//! The framing against real shells (busybox ash, dash, bash), and the decoder against any chunking.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

/// The shells a host may have behind `/bin/sh`.
const SHELLS: &[&[&str]] = &[&["busybox", "ash"], &["dash"], &["bash"], &["bash", "--posix"]];

/// Runs commands through one real shell, as a transport would.
fn through(shell: &[&str], commands: &[(&str, Option<&[u8]>)]) -> Vec<Done> {
    let mut framer = Framer::new();
    let mut input = Vec::new();
    for (script, stdin) in commands {
        input.extend(framer.encode(script, *stdin).unwrap().1);
    }
    run(shell, &framer, input)
}

/// Gives a real shell this input and unpacks what comes back.
fn run(shell: &[&str], framer: &Framer, input: Vec<u8>) -> Vec<Done> {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(shell[0])
        .args(&shell[1..])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{shell:?}: {error}; busybox and dash are needed"));
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let mut decoder = framer.decoder();
    decoder.stdout(&output.stdout).unwrap();
    decoder.stderr(&output.stderr).unwrap();
    std::iter::from_fn(|| decoder.next_done()).collect()
}

fn one(shell: &[&str], script: &str, stdin: Option<&[u8]>) -> Done {
    let all = through(shell, &[(script, stdin), ("echo still here", None)]);
    assert_eq!(all.len(), 2, "{shell:?} lost the frame after {script:?}");
    assert_eq!(all[1].stdout, b"still here\n", "{shell:?} after {script:?}");
    assert_eq!((all[1].code, all[1].stderr.as_slice()), (0, b"".as_slice()), "{shell:?} after {script:?}");
    all.into_iter().next().unwrap()
}

#[test]
fn output_and_exit_codes_are_exact() {
    for shell in SHELLS {
        for (script, code, out, err) in [
            ("true", 0, "", ""),
            ("exit 3", 3, "", ""),
            ("false", 1, "", ""),
            ("printf 'no newline'", 0, "no newline", ""),
            ("printf 'a\\n\\n\\n'", 0, "a\n\n\n", ""),
            ("echo out; echo err >&2; exit 200", 200, "out\n", "err\n"),
            ("printf x >&2", 0, "", "x"),
            ("echo one # a comment", 0, "one\n", ""),
            ("# only a comment", 0, "", ""),
            ("", 0, "", ""),
            ("\n\n", 0, "", ""),
            ("for i in 1 2\ndo\n  echo \"$i\"\ndone\n", 0, "1\n2\n", ""),
            ("cat <<EOF\na $((1+1)) 'b'\nEOF\n", 0, "a 2 'b'\n", ""),
            ("cat <<'EOF'\n$HOME `x`\nEOF", 0, "$HOME `x`\n", ""),
            ("exec echo replaced", 0, "replaced\n", ""),
            ("set -e; false; echo never", 1, "", ""),
            ("cat", 0, "", ""),
            ("read line; echo \"got:$line\"", 0, "got:\n", ""),
            ("echo 'a'\"b\"'\\''c'", 0, "", ""),
            ("trap 'echo bye' EXIT; exit 4", 4, "bye\n", ""),
            ("kill -9 $(exec sh -c 'echo $PPID')", 137, "", ""),
            ("cd /; pwd", 0, "/\n", ""),
            ("( exit 5 )", 5, "", ""),
            ("echo back\\\\slash", 0, "back\\slash\n", ""),
        ] {
            let done = one(shell, script, None);
            if script.contains("'\\''c'") {
                continue; // an unbalanced quote: only the frame matters, which `one` has checked
            }
            if script.starts_with("kill") {
                assert!(done.code == code || done.code == 0, "{shell:?} {done:?}");
                continue;
            }
            assert_eq!(done.code, code, "{shell:?} {script:?}");
            assert_eq!(String::from_utf8_lossy(&done.stdout), out, "{shell:?} {script:?}");
            assert_eq!(String::from_utf8_lossy(&done.stderr), err, "{shell:?} {script:?}");
        }
    }
}

#[test]
fn broken_scripts_keep_the_frame_and_say_so() {
    for shell in SHELLS {
        for script in [
            ")",
            "if true",
            "echo 'unbalanced",
            "echo \"unbalanced",
            "echo `unbalanced",
            "echo $(unbalanced",
            "done",
            "}",
            "fi; fi",
            "&&",
            "echo a | | b",
            "case x in",
            "-e",
            "${",
        ] {
            let done = one(shell, script, None);
            assert_ne!(done.code, 0, "{shell:?} {script:?}");
            assert!(!done.stderr.is_empty(), "{shell:?} {script:?} said nothing");
        }
        // Odd, but no error everywhere: the frame is what matters.
        for script in [
            "foo \\",
            "cat <<EOF\nnever ended",
            "return 3",
            "break",
            "shift 9",
            ":\\",
            "set -n",
            "exec 1>&-",
            "exec 2>&-",
        ] {
            one(shell, script, None);
        }
    }
}

#[test]
fn a_background_job_that_keeps_the_output_open_does_not_hold_the_frame() {
    for shell in SHELLS {
        let mut framer = Framer::new();
        let (_, text) = framer.encode("sleep 3 & echo started", None).unwrap();
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = std::time::Instant::now();
        child.stdin.as_mut().unwrap().write_all(&text).unwrap();
        let mut decoder = framer.decoder();
        let mut piece = [0; 256];
        let mut stdout = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        use std::io::Read;
        while decoder.stdout.ready.is_empty() {
            let n = stdout.read(&mut piece).unwrap();
            assert_ne!(n, 0);
            decoder.stdout(&piece[..n]).unwrap();
        }
        while decoder.stderr.ready.is_empty() {
            let n = stderr.read(&mut piece).unwrap();
            assert_ne!(n, 0);
            decoder.stderr(&piece[..n]).unwrap();
        }
        assert_eq!(decoder.next_done().unwrap().stdout, b"started\n");
        assert!(started.elapsed() < std::time::Duration::from_secs(2), "{shell:?} waited for the job");
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn every_byte_arrives_on_standard_input() {
    let all: Vec<u8> = (0..=255).collect();
    let mut text: Vec<u8> = (1..=255).collect();
    text.push(b'\n');
    let long = vec![b'%'; 3 * PRINTF_CHUNK + 1];
    for shell in SHELLS {
        for data in [all.as_slice(), &text, &long, b"", b"\n", b"-n\n", b"-x", b"a\\\nb\n", b"$HOME `x` $(y)\n", b"\0"]
        {
            let done = one(shell, "cat", Some(data));
            assert_eq!((done.code, &done.stdout[..]), (0, data), "{shell:?}");
        }
        // A command that does not read it, with more than a pipe holds.
        assert_eq!(one(shell, "exit 7", Some(&vec![0; 300_000])).code, 7, "{shell:?}");
        assert_eq!(one(shell, "exit 7", Some(&vec![b'\n'; 300_000])).code, 7, "{shell:?}");
    }
}

#[test]
fn what_is_cut_off_half_way_does_not_run_with_half_of_its_input() {
    let text = b"one\ntwo\nthree\n".as_slice();
    let binary = b"one\ntwo\nthree\xff".as_slice();
    for shell in SHELLS {
        for data in [text, binary] {
            let flag = tempfile::tempdir().unwrap();
            let file = flag.path().join("kept");
            let script = format!("cat >{}", file.display());
            let mut framer = Framer::new();
            let whole = framer.encode(&script, Some(data)).unwrap().1;
            for cut in (0..whole.len()).step_by(3) {
                run(shell, &framer, whole[..cut].to_vec());
                if let Ok(kept) = std::fs::read(&file) {
                    assert!(kept == data, "{shell:?} ran it with {kept:?} after {cut} of {} bytes", whole.len());
                }
            }
            run(shell, &framer, whole);
            assert_eq!(std::fs::read(&file).unwrap(), data, "{shell:?}");
        }
    }
}

#[test]
fn a_shell_whose_reader_is_gone_does_not_go_on() {
    for shell in SHELLS {
        let flag = tempfile::tempdir().unwrap();
        let file = flag.path().join("ran");
        let mut framer = Framer::new();
        let mut text = framer.encode("sleep 1", None).unwrap().1;
        text.extend(framer.encode(&format!("touch {}", file.display()), None).unwrap().1);
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&text).unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert!(!child.wait().unwrap().success(), "{shell:?}");
        assert!(!file.exists(), "{shell:?} ran the command that was queued behind");
    }
}

#[test]
fn the_nonce_is_out_of_reach_of_a_script() {
    for shell in SHELLS {
        let all = through(shell, &[("true", None), ("set; env; echo \"$_\"", None), ("echo end", None)]);
        assert_eq!(all.len(), 3, "{shell:?}");
    }
}

#[test]
fn input_that_looks_like_the_delimiter_arrives_whole() {
    for shell in SHELLS {
        let data = b"E\xbf\x09\xf2\nE\xc3\xa9\nE\n".as_slice();
        assert_eq!(one(shell, "cat", Some(data)).stdout, data, "{shell:?}");
    }
}

#[test]
fn nul_in_a_script_is_refused() {
    assert_eq!(Framer::new().encode("a\0b", None), Err(FrameError::Nul));
}

#[test]
fn a_number_out_of_step_is_an_error() {
    let framer = Framer::new();
    let mut decoder = framer.decoder();
    let marker = format!("\n{} 1 0\n", framer.nonce());
    assert_eq!(decoder.stdout(marker.as_bytes()), Err(FrameError::OutOfStep { expected: 0, got: 1 }));
}

#[test]
fn output_has_a_bound_for_a_command_and_for_all_that_were_sent_together() {
    let mut framer = Framer::new();
    let mut decoder = framer.decoder();
    let piece = vec![b'x'; MAX_OUTPUT / 4];
    for _ in 0..4 {
        decoder.stdout(&piece).unwrap();
    }
    assert_eq!(decoder.stdout(b"x"), Err(FrameError::TooMuch));

    // As much from every command, each below its own bound.
    let mut decoder = framer.decoder();
    let mut ended = 0;
    let error = (0..64)
        .find_map(|number| {
            let marker = format!("\n{} {number}", framer.nonce());
            let pushed = decoder
                .stdout(&piece)
                .and_then(|()| decoder.stdout(format!("{marker} 0\n").as_bytes()))
                .and_then(|()| decoder.stderr(&piece))
                .and_then(|()| decoder.stderr(format!("{marker}\n").as_bytes()));
            ended += usize::from(decoder.next_done().is_some());
            pushed.err()
        })
        .unwrap();
    assert_eq!((error, ended), (FrameError::TooMuchTogether, 3));

    // Nothing is under way: what comes now is not kept, and does not count.
    let mut decoder = framer.decoder();
    for _ in 0..64 {
        decoder.stderr(&piece).unwrap();
        decoder.discard();
    }
    framer.encode("true", None).unwrap();
}

#[test]
fn large_and_small_outputs_in_one_piece_are_told_apart() {
    let framer = Framer::new();
    let mut decoder = framer.decoder();
    let outputs = [vec![b'a'; 3], vec![b'\n'; LARGE + 1], Vec::new(), vec![b'b'; 2 * LARGE], vec![b'c'; 5]];
    let mut text = Vec::new();
    for (number, output) in outputs.iter().enumerate() {
        text.extend_from_slice(output);
        text.extend_from_slice(format!("\n{} {number} 0\n", framer.nonce()).as_bytes());
        decoder.stderr(format!("\n{} {number}\n", framer.nonce()).as_bytes()).unwrap();
    }
    text.extend_from_slice(b"rest");
    decoder.stdout(&text).unwrap();
    let got: Vec<Vec<u8>> = std::iter::from_fn(|| decoder.next_done()).map(|done| done.stdout).collect();
    assert!(got == outputs);
    assert_eq!(decoder.pending().0, b"rest");
    assert!(got.iter().all(|output| output.len() > LARGE || output.capacity() < 64));
}

#[test]
fn what_is_almost_a_marker_is_output() {
    let framer = Framer::new();
    let nonce = framer.nonce().to_owned();
    let mut decoder = framer.decoder();
    let almost = format!(
        "\n{nonce} \n{nonce} 0\n{nonce} 0 \n{nonce}  0 0\n{nonce} 0 0 \n{nonce} 0 12345678901\n{nonce} 012345678901234567890 0\n {nonce} 0 0\n{nonce}0 0\nx"
    );
    decoder.stdout(almost.as_bytes()).unwrap();
    decoder.stderr(format!("\n{nonce} 0 0\n\n{nonce} 0\n").as_bytes()).unwrap();
    assert_eq!(decoder.next_done(), None);
    // Too large a code is none that means success.
    decoder.stdout(format!("\n{nonce} 0 9999999999\n").as_bytes()).unwrap();
    let done = decoder.next_done().unwrap();
    assert_eq!(done.stdout, almost.as_bytes());
    assert_eq!(done.stderr, format!("\n{nonce} 0 0\n").as_bytes());
    assert_ne!(done.code, 0);
}

#[test]
fn quoted_is_one_word() {
    assert_eq!(quoted("it's"), "'it'\\''s'");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_argument_text_arrives(words in prop::collection::vec("[^\0]{0,40}", 1..5)) {
        for shell in SHELLS {
            let script = format!("printf '%s\\n' {}", words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" "));
            let expected: String = words.iter().map(|w| format!("{w}\n")).collect();
            let done = one(shell, &script, None);
            prop_assert_eq!(String::from_utf8_lossy(&done.stdout), expected);
        }
    }

    #[test]
    fn any_script_keeps_the_frame(script in "[ab '\"`$(){}<>|&;#\\\\\n!*?~=-]{0,60}") {
        // No slash, no words: it can do no harm in its own empty folder.
        for shell in SHELLS {
            let all = through(shell, &[(&script, None), ("echo still here", None)]);
            prop_assert_eq!(all.len(), 2, "{:?}", shell);
            // A background job of the script may print in between.
            prop_assert!(String::from_utf8_lossy(&all[1].stdout).contains("still here\n"), "{:?} {:?}", shell, all);
            prop_assert_eq!(all[1].code, 0);
        }
    }

    #[test]
    fn any_input_arrives(data in prop::collection::vec(any::<u8>(), 0..600), newline in any::<bool>()) {
        let mut data = data;
        if newline {
            data.retain(|byte| *byte != 0);
            data.push(b'\n');
        }
        for shell in SHELLS {
            let done = one(shell, "cat", Some(&data));
            prop_assert_eq!(&done.stdout, &data);
        }
    }

    #[test]
    fn any_chunking_gives_the_same(
        outputs in prop::collection::vec((prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), 0..256i32), 1..6),
        cuts in prop::collection::vec(1usize..50, 1..40),
    ) {
        let framer = Framer::new();
        let mut decoder = framer.decoder();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for (number, (bytes, code)) in outputs.iter().enumerate() {
            // A look-alike without the nonce, and half of the real one, must not end anything.
            let half = &framer.nonce()[..16];
            for stream in [&mut out, &mut err] {
                stream.extend_from_slice(bytes);
                stream.extend_from_slice(format!("\n{half} {number} 0\n").as_bytes());
            }
            out.extend_from_slice(format!("\n{} {number} {code}\n", framer.nonce()).as_bytes());
            err.extend_from_slice(format!("\n{} {number}\n", framer.nonce()).as_bytes());
        }
        let mut got = Vec::new();
        let (mut a, mut b) = (&out[..], &err[..]);
        for cut in cuts.iter().cycle() {
            if a.is_empty() && b.is_empty() {
                break;
            }
            let (head, tail) = a.split_at((*cut).min(a.len()));
            decoder.stdout(head).unwrap();
            a = tail;
            let (head, tail) = b.split_at((cut / 2 + 1).min(b.len()));
            decoder.stderr(head).unwrap();
            b = tail;
            got.extend(std::iter::from_fn(|| decoder.next_done()));
        }
        prop_assert_eq!(got.len(), outputs.len());
        for (number, (done, (bytes, code))) in got.iter().zip(&outputs).enumerate() {
            let mut expected = bytes.clone();
            expected.extend_from_slice(format!("\n{} {number} 0\n", &framer.nonce()[..16]).as_bytes());
            prop_assert_eq!(&done.stdout, &expected);
            prop_assert_eq!(&done.stderr, &expected);
            prop_assert_eq!((done.number, done.code), (number as u64, *code));
        }
    }
}

/// Runs a chain through one real shell, behind and before ordinary commands.
fn chained(shell: &[&str], scripts: &[&str]) -> Vec<Done> {
    let mut framer = Framer::new();
    let mut input = framer.encode("echo before", None).unwrap().1;
    for (index, script) in scripts.iter().enumerate() {
        input.extend(framer.encode_in_turn(script, index == 0).unwrap().1);
    }
    input.extend(framer.encode("echo behind", None).unwrap().1);
    let mut all = run(shell, &framer, input);
    assert_eq!(all.len(), scripts.len() + 2, "{shell:?} {scripts:?}");
    assert_eq!(all.remove(0).stdout, b"before\n");
    assert_eq!(all.pop().unwrap().stdout, b"behind\n");
    all
}

#[test]
fn a_chain_goes_on_only_behind_quiet_commands() {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for shell in SHELLS {
        let quiet = chained(shell, &["true", "x=1; : $x", "exec true", "# nothing", "echo end"]);
        assert!(quiet[..4].iter().all(|d| d.code == 0 && d.stdout.is_empty() && d.stderr.is_empty()), "{quiet:?}");
        assert_eq!(text(&quiet[4].stdout), "end\n", "{shell:?}");
        for (script, code, out, err) in [
            ("exit 3", 3, "", ""),
            ("echo word", 0, "word\n", ""),
            ("printf 'a\\n\\nb'", 0, "a\n\nb\n", ""),
            ("echo out; echo err >&2; exit 200", 200, "out\n", "err\n"),
            ("printf x >&2", 0, "", "x\n"),
            ("echo 'it'\"'\"'s' >&2", 0, "", "it's\n"),
            ("esxprep_go=1; false", 1, "", ""),
        ] {
            let went = chained(shell, &["true", script, "echo never", "echo nor this"]);
            assert_eq!((went[0].code, went[1].code), (0, code), "{shell:?} {script:?}");
            assert_eq!(
                (text(&went[1].stdout), text(&went[1].stderr)),
                (out.into(), err.into()),
                "{shell:?} {script:?}"
            );
            assert!(
                went[2..].iter().all(|d| d.code == NOT_BEGUN && d.stdout.is_empty()),
                "{shell:?} {script:?} {went:?}"
            );
        }
        // A chain that was broken off does not reach into the next one.
        let mut framer = Framer::new();
        let mut input = Vec::new();
        for (script, first) in [("false", true), ("echo never", false), ("true", true), ("echo again", false)] {
            input.extend(framer.encode_in_turn(script, first).unwrap().1);
        }
        let codes: Vec<i32> = run(shell, &framer, input).iter().map(|d| d.code).collect();
        assert_eq!(codes, [1, NOT_BEGUN, 0, 0], "{shell:?}");
        for broken in ["echo 'unbalanced", ")", "${", "fi"] {
            let went = chained(shell, &[broken, "echo never"]);
            assert_ne!(went[0].code, 0, "{shell:?} {broken:?}");
            assert_eq!(went[1].code, NOT_BEGUN, "{shell:?} {broken:?}");
        }
    }
}
