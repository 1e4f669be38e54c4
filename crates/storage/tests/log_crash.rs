//! Bytes that a crash leaves are cut off or kept; acknowledged bytes that changed since are
//! reported.

mod log_support;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use conclave_storage::log::{LogStore, OpenError, Options, SegmentLog};
use log_support::{append, contents, entry, id, open, segments, try_open, wait, written_end};

/// Writes one frame per entry and closes the log. Returns the file's end after each frame.
fn write_frames(dir: &Path, count: u64, bytes: usize) -> Vec<usize> {
    let log = open(dir);
    let mut ends = Vec::new();
    for index in 1..=count {
        append(&log, vec![entry(1, index, bytes)]);
        ends.push(written_end(
            segments(dir).last().expect("there is a segment"),
        ));
    }
    ends
}

fn flip(path: &Path, offset: usize, mask: u8) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("it opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset as u64)
        .expect("it can be read");
    file.write_all_at(&[byte[0] ^ mask], offset as u64)
        .expect("it can be written");
}

/// Truncates a file as a write does that was interrupted at this offset.
fn cut(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).expect("it can be read");
    bytes[offset..].fill(0);
    fs::write(path, bytes).expect("it can be written");
}

fn assert_damaged_and_untouched(dir: &Path, what: &str) {
    let before = contents(dir);
    match try_open(dir) {
        Err(OpenError::Damaged { .. }) => {}
        Err(other) => panic!("{what}: {other}"),
        Ok(log) => panic!("{what}: opened as {:?}", log.state()),
    }
    assert!(contents(dir) == before, "{what}: the files were changed");
}

#[test]
fn a_last_frame_torn_at_any_byte_is_cut_and_the_rest_kept() {
    let origin = tempfile::tempdir().expect("a directory");
    let ends = write_frames(origin.path(), 4, 61);
    let path = segments(origin.path()).remove(0);
    let whole = fs::read(&path).expect("it can be read");
    let [.., start, end] = ends[..] else {
        panic!("four frames")
    };
    let options = || Options {
        sync: false,
        ..log_support::options()
    };
    // Memory is not copied byte by byte: the last byte is never missing alone.
    for torn_at in start..end - 1 {
        let dir = tempfile::tempdir().expect("a directory");
        let mut bytes = whole.clone();
        bytes[torn_at..].fill(0);
        let copy = dir.path().join(path.file_name().expect("it has a name"));
        fs::write(&copy, &bytes).expect("it can be written");
        let log = SegmentLog::open(dir.path(), options()).expect("a torn tail is no damage");
        assert_eq!(log.state().last, Some(id(1, 3)), "torn at {torn_at}");
        assert_eq!(log.read(0..9, usize::MAX).expect("it can be read").len(), 3);
        let found = written_end(&copy) > start;
        assert!(!found, "torn at {torn_at}: the tail is still there");
        append(&log, vec![entry(2, 4, 61)]);
        drop(log);
        let log = SegmentLog::open(dir.path(), options()).expect("it opens");
        assert_eq!(log.state().last, Some(id(2, 4)), "torn at {torn_at}");
    }
}

#[test]
fn a_torn_tail_is_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    let ends = write_frames(dir.path(), 3, 50);
    let path = segments(dir.path()).remove(0);
    cut(&path, ends[2] - 20);
    let log = open(dir.path());
    let torn = log.recovery().torn_tail.clone().expect("the tail was torn");
    assert_eq!((torn.file, log.recovery().frames), (path, 2));
    assert!(torn.offset as usize >= ends[1] && torn.bytes > 50);
    assert!(log.verify_reaches(2).is_ok());
    assert!(
        matches!(log.verify_reaches(3), Err(OpenError::Damaged { .. })),
        "3 was applied"
    );
}

#[test]
fn a_flipped_bit_in_any_frame_but_the_last_is_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let ends = write_frames(dir.path(), 4, 37);
    let path = segments(dir.path()).remove(0);
    // Padding after a record is covered by the frame's checksum too.
    for offset in 256..ends[2] {
        let mask = 1 << (offset % 8);
        flip(&path, offset, mask);
        assert_damaged_and_untouched(dir.path(), &format!("byte {offset}"));
        flip(&path, offset, mask);
    }
    assert_eq!(open(dir.path()).state().last, Some(id(1, 4)));
}

#[test]
fn a_flipped_bit_at_the_end_of_an_earlier_segment_is_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    write_frames(dir.path(), 60, 500);
    let paths = segments(dir.path());
    assert!(paths.len() > 3);
    for path in &paths[..paths.len() - 1] {
        let offset = written_end(path) - 10;
        flip(path, offset, 1);
        assert_damaged_and_untouched(dir.path(), "the last frame of a segment");
        flip(path, offset, 1);
    }
}

#[test]
fn a_flipped_bit_in_a_segment_header_is_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    write_frames(dir.path(), 30, 500);
    for path in segments(dir.path()) {
        for offset in 0..256 {
            flip(&path, offset, 0x10);
            assert_damaged_and_untouched(dir.path(), &format!("header byte {offset}"));
            flip(&path, offset, 0x10);
        }
    }
}

#[test]
fn a_missing_or_shortened_segment_is_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    write_frames(dir.path(), 60, 500);
    let paths = segments(dir.path());
    let aside = dir.path().join("aside");
    for path in &paths[..paths.len() - 1] {
        fs::rename(path, &aside).expect("it can be moved");
        assert_damaged_and_untouched(dir.path(), "a segment is missing");
        fs::rename(&aside, path).expect("it can be moved");
    }
    for path in &paths {
        let bytes = fs::read(path).expect("it can be read");
        let file = OpenOptions::new().write(true).open(path).expect("it opens");
        file.set_len(bytes.len() as u64 / 2).expect("it can be cut");
        assert_damaged_and_untouched(dir.path(), "a segment is shorter");
        fs::write(path, bytes).expect("it can be written");
    }
    // A caller that knows what was applied notices that the last segment is missing.
    fs::rename(&paths[paths.len() - 1], &aside).expect("it can be moved");
    assert!(open(dir.path()).verify_reaches(60).is_err());
}

#[test]
fn frame_like_bytes_in_a_message_are_not_a_frame() {
    let dir = tempfile::tempdir().expect("a directory");
    let ends = write_frames(dir.path(), 3, 40);
    let path = segments(dir.path()).remove(0);
    let frame = fs::read(&path).expect("it can be read")[ends[1].next_multiple_of(8)..].to_vec();
    // The frame that is torn carries a copy of a later frame.
    let log = open(dir.path());
    wait(|done| log.truncate_after(Some(id(1, 1)), done));
    let mut carrier = entry(1, 2, 0);
    carrier.bytes = frame[..120].to_vec().into();
    append(&log, vec![carrier]);
    drop(log);
    let end = written_end(&path);
    cut(&path, end - 4);
    assert_eq!(open(dir.path()).state().last, Some(id(1, 1)));
}

#[test]
fn a_power_loss_keeps_exactly_the_acknowledged_entries() {
    let origin = tempfile::tempdir().expect("a directory");
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(origin.path());
    for index in 1..=40 {
        append(&log, vec![entry(1, index, 300)]);
    }
    // The position is written without a sync, and its sectors may or may not be on disk.
    log.save_committed(Some(id(1, 40))).expect("it is accepted");
    let acked = contents(origin.path());
    for (path, bytes) in &acked {
        let copy = dir.path().join(path.file_name().expect("it has a name"));
        fs::write(copy, bytes).expect("it can be written");
    }
    let after = open(dir.path());
    assert_eq!(after.state().last, Some(id(1, 40)));
    let all = after.read(0..99, usize::MAX).expect("it can be read");
    assert!(
        all.iter()
            .eq(&(1..=40).map(|at| entry(1, at, 300)).collect::<Vec<_>>())
    );
}

#[test]
fn the_committed_position_is_saved_with_the_next_frame_or_close() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    for index in 1..=20 {
        append(&log, vec![entry(1, index, 100)]);
        log.save_committed(Some(id(1, index)))
            .expect("it is accepted");
    }
    assert_eq!((log.stats().syncs, log.stats().frames), (20, 20));
    let killed = tempfile::tempdir().expect("a directory");
    for (path, bytes) in contents(dir.path()) {
        let name = path.file_name().expect("a file has a name");
        fs::write(killed.path().join(name), bytes).expect("a copy");
    }
    assert_eq!(open(killed.path()).state().committed, Some(id(1, 19)));
    drop(log);
    assert_eq!(open(dir.path()).state().committed, Some(id(1, 20)));
}

#[test]
fn a_bit_flipped_while_the_log_is_open_is_detected_on_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    for index in 1..=20 {
        append(&log, vec![entry(1, index, 200)]);
    }
    let path = segments(dir.path()).remove(0);
    flip(&path, 256 + 24 + 16 + 24 + 5, 2);
    let error = log
        .read(1..3, usize::MAX)
        .expect_err("the first entry is bad");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(
        log.read(2..3, usize::MAX)
            .expect("the second is good")
            .len(),
        1
    );
}

#[test]
fn a_file_that_is_not_a_log_is_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    File::create(dir.path().join("00000000000000000001.segment")).expect("it can be made");
    assert_damaged_and_untouched(dir.path(), "an empty file");
}
