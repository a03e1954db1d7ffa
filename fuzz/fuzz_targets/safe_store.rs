//! Any text as a SafeStore record, and a good record with some of its bytes replaced. It opens if
//! and only if it is the record that was sealed; so does it when it is rewrapped.
#![no_main]

use std::sync::LazyLock;

use gatepost::decide::api_key::format::RandomFault;
use gatepost::issue::rows::Sealed;
use gatepost::issue::safe_store::{
    Context, Owner, Pepper, Peppers, Share, open, rewrap, seal, sealed_under,
};
use libfuzzer_sys::fuzz_target;

const SECRET: &[u8] = b"a secret of a plugin";

struct Store {
    peppers: Peppers,
    share: Share,
    context: Context,
    record: Sealed,
}

static STORE: LazyLock<Store> = LazyLock::new(|| {
    let pepper = |id, byte| {
        let mut bytes = [byte; 32];
        bytes[0] = 0;
        Pepper::new(id, &bytes).expect("a pepper")
    };
    let peppers = Peppers::new([pepper("p1", 1), pepper("p2", 2)], "p1").expect("a ring");
    let owner = Owner::new("usr_a").expect("an owner");
    let share = Share::generate(owner, 1, &mut counting(3)).expect("a share");
    let context = Context::new("secrets", "sealed", "sec_1").expect("a place");
    let record = seal(&peppers, &share, &context, SECRET, &mut counting(9)).expect("a record");
    Store { peppers, share, context, record }
});

fn counting(start: u8) -> impl FnMut(&mut [u8]) -> Result<(), RandomFault> {
    let mut next = start;
    move |bytes| {
        for byte in bytes {
            *byte = next;
            next = next.wrapping_mul(5).wrapping_add(17);
        }
        Ok(())
    }
}

fn check(record: &Sealed) {
    let Store { peppers, share, context, record: good } = &*STORE;
    let opened = open(peppers, share, context, record);
    assert_eq!(opened.is_ok(), record == good);
    assert!(opened.is_err() || sealed_under(record).is_some());
    assert!(opened.is_ok_and(|secret| secret.expose() == SECRET) == (record == good));
    let rewrapped = rewrap(peppers, share, share, context, record);
    assert_eq!(rewrapped.is_ok(), record == good);
}

fuzz_target!(|data: &[u8]| {
    let good = &*STORE.record.0;
    if let Ok(text) = std::str::from_utf8(data) {
        check(&Sealed(text.into()));
    }
    // Pairs of a position and a byte.
    let mut bytes = good.as_bytes().to_vec();
    for edit in data.chunks_exact(3).take(4) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[at] = edit[2];
    }
    if let Ok(text) = String::from_utf8(bytes) {
        check(&Sealed(text.into()));
    }
});
