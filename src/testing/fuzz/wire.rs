// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads every record of the wire from any bytes, and writes it back the same.
#![forbid(unsafe_code)]

use crate::wire::{
    Close, Confine, Field, FileRequest, FileSet, FileStat, Header, Hello, Job, Kill, Op, Open,
    Reader, Reply, Run, Watch,
};

/// The first byte chooses the record, the others are its bytes.
pub(super) fn wire(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    match kind % 14 {
        0 => same::<Header>(body),
        1 => same::<Hello>(body),
        2 => same::<Open<'_>>(body),
        3 => same::<Confine<'_>>(body),
        4 => same::<Job<'_>>(body),
        5 => same::<Close>(body),
        6 => same::<Run<'_>>(body),
        7 => same::<Kill>(body),
        8 => same::<Reply>(body),
        9 => same::<FileRequest<'_>>(body),
        10 => same::<FileSet<'_>>(body),
        11 => same::<FileStat>(body),
        12 => same::<Watch<'_>>(body),
        _ => operations(body),
    }
}

fn same<'a, T: Field<'a>>(body: &'a [u8]) {
    let mut reader = Reader::new(body);
    if let Some(record) = T::get(&mut reader) {
        let mut bytes = Vec::new();
        record.put(&mut bytes);
        let read = body.len() - reader.rest().len();
        assert_eq!(bytes, body[..read]);
    }
}

fn operations(body: &[u8]) {
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        let before = reader.rest();
        let Some(op) = Op::get(&mut reader) else {
            return;
        };
        let mut bytes = Vec::new();
        op.put(&mut bytes);
        assert_eq!(bytes, before[..before.len() - reader.rest().len()]);
        if let Op::NewOverlay {
            lowers, options, ..
        } = op
        {
            let strings = lowers.iter().chain(options.iter());
            let length: usize = strings.map(|s| s.count_bytes() + 1).sum();
            assert_eq!(length, lowers.bytes().len() + options.bytes().len());
        }
    }
}
