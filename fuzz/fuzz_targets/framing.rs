//! Any body, read as Connect, gRPC and gRPC-Web bodies are: however it is cut, the same comes out, and what is refused is
//! refused with a code that blames the request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenantry_fuzz::edge::protocol::{Manner, read};
use tonic::Code;

fuzz_target!(|data: &[u8]| {
    let [bits, piece, body @ ..] = data else { return };
    let bit = |place: u8| bits >> place & 1 == 1;
    let manner =
        Manner { is_bare: bit(0), is_text: bit(1), is_compressed: bit(2), is_json: bit(3), single: bit(4) };
    let whole = read(manner, body, body.len());
    let cut = read(manner, body, usize::from(*piece));
    // A fault further on may be met in another order, but never instead of an answer.
    if manner.is_json {
        // The members of an object are written in any order.
        assert_eq!(whole.as_ref().map(Vec::len).ok(), cut.as_ref().map(Vec::len).ok());
    } else {
        assert_eq!(whole.as_ref().ok(), cut.as_ref().ok());
    }
    for code in [whole.err(), cut.err()].into_iter().flatten() {
        assert!(
            matches!(
                code,
                Code::InvalidArgument | Code::Unimplemented | Code::ResourceExhausted | Code::Internal
            ),
            "{code:?}"
        );
    }
});
