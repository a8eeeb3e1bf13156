// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records are read as written, and cut records are refused.

use super::*;

#[test]
fn wire_op_is_read_as_it_was_put() {
    let lowers: ListBuf = [c"/a", c"/b,c:d"].into_iter().collect();
    let none = ListBuf::default();
    let op = Op::NewOverlay {
        into: 3,
        stage: 1,
        lowers: lowers.as_list(),
        upper: c"u",
        work: c"w",
        options: none.as_list(),
        attrs: 7,
        flags: USERXATTR,
    };
    let mut bytes = Vec::new();
    op.put(&mut bytes);
    Op::MakePrivate {}.put(&mut bytes);
    let mut reader = Reader::new(&bytes);
    assert_eq!(Op::get(&mut reader), Some(op));
    assert_eq!(Op::get(&mut reader), Some(Op::MakePrivate {}));
    assert!(reader.is_empty());
    assert_eq!(lowers.as_list().iter().count(), 2);
}

#[test]
fn wire_cut_bytes_are_refused_everywhere() {
    let mut bytes = Vec::new();
    Op::MakeLink {
        root: 1,
        path: c"a",
        target: c"b",
    }
    .put(&mut bytes);
    for cut in 0..bytes.len() {
        assert_eq!(Op::get(&mut Reader::new(&bytes[..cut])), None, "{cut}");
    }
}

#[test]
fn wire_sizes_are_as_declared() {
    let mut bytes = Vec::new();
    Reply::new(READY, 0, 0, 0).put(&mut bytes);
    assert_eq!(bytes, Reply::new(READY, 0, 0, 0).to_bytes());
    bytes.clear();
    Header {
        magic: MAGIC,
        kind: 1,
        len: 0,
        in_memfd: 0,
    }
    .put(&mut bytes);
    assert_eq!(bytes.len(), HEADER);
}

#[test]
fn wire_escapes_are_undone_once() {
    for (text, path) in [
        ("/a\\040b", "/a b"),
        ("/a\\134040", "/a\\040"),
        ("/end\\04", "/end\\04"),
        ("/not\\999", "/not\\999"),
    ] {
        assert!(unescape(text.as_bytes()).eq(path.bytes()), "{text}");
    }
}
