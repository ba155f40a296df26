//! What holds for any bytes: the readers never panic, take the same from a body however it is cut, and refuse with a code
//! that blames the request.

use bytes::BytesMut;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use tonic::{Code, Status};

use super::super::items::Bounds;
use super::{
    base64_text::TextDecoder,
    frames, gzip, json, query,
    reader::{Reader, Terms},
};

fn descriptors() -> Vec<MessageDescriptor> {
    let pool = DescriptorPool::decode(crate::proto::DESCRIPTOR_SET).unwrap();
    pool.services()
        .flat_map(|service| service.methods().map(|method| method.input()).collect::<Vec<_>>())
        .collect()
}

/// How a body is to be read.
#[derive(Debug, Clone, Copy)]
struct Manner {
    form: Form,
    is_compressed: bool,
    is_json: bool,
    single: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bare,
    Framed,
    FramedText,
}

fn manner() -> impl Strategy<Value = Manner> {
    let form = prop_oneof![Just(Form::Bare), Just(Form::Framed), Just(Form::FramedText)];
    (form, any::<[bool; 3]>()).prop_map(|(form, [is_compressed, is_json, single])| Manner {
        form,
        is_compressed,
        is_json,
        single,
    })
}

fn read(manner: Manner, descriptor: &MessageDescriptor, body: &[u8], piece: usize) -> Result<Vec<u8>, Code> {
    let mut reader = Reader {
        is_bare: manner.form == Form::Bare,
        text: (manner.form == Form::FramedText).then(TextDecoder::default),
        is_compressed: manner.is_compressed,
        is_json: manner.is_json,
        input: Some(descriptor.clone()),
        terms: Terms { single: manner.single, message_bytes_max: 256, bounds: Bounds::default() },
        buffer: BytesMut::new(),
        messages: 0,
    };
    let mut out = Vec::new();
    let mut run = || -> Result<(), Status> {
        for piece in body.chunks(piece) {
            reader.push(piece)?;
            while let Some(message) = reader.next()? {
                out.extend_from_slice(&message);
            }
        }
        out.extend(reader.end()?.unwrap_or_default());
        Ok(())
    };
    run().map_err(|status| status.code())?;
    Ok(out)
}

/// Bytes that are often nearly right: frames, JSON, gzip, base64, and noise.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = prop_oneof![
        Just(b"{}".to_vec()),
        Just(br#"{"tenantId":"a"}"#.to_vec()),
        "[\\[\\]{}:,\"a-z0-9\\\\ .eE+-]{0,60}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..80),
    ];
    let packed = (json, any::<bool>()).prop_map(|(message, pack)| {
        let compressed = {
            use std::io::Write as _;
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&message).unwrap();
            encoder.finish().unwrap()
        };
        if pack { compressed } else { message }
    });
    let framed = prop::collection::vec((packed.clone(), prop_oneof![Just(0_u8), Just(1), any::<u8>()]), 0..4)
        .prop_map(|messages| {
            let mut body = BytesMut::new();
            for (message, flag) in &messages {
                frames::put(&mut body, *flag, message);
            }
            body.to_vec()
        });
    let plain = prop_oneof![framed, packed, prop::collection::vec(any::<u8>(), 0..400)];
    (plain, any::<bool>()).prop_map(
        |(body, as_text)| {
            if as_text { super::base64_text::encode(&body).to_vec() } else { body }
        },
    )
}

proptest! {
    // `PROPTEST_CASES` asks for more.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2_000), ..ProptestConfig::default() })]

    #[test]
    fn a_body_is_read_alike_however_it_is_cut(
        manner in manner(),
        body in body(),
        pieces in (1_usize..40, 1_usize..400),
        which in any::<prop::sample::Index>(),
    ) {
        let descriptors = descriptors_once();
        let descriptor = which.get(descriptors);
        let one = read(manner, descriptor, &body, pieces.0);
        let other = read(manner, descriptor, &body, pieces.1);
        // A large body that is also faulty may fail on either, whichever shows first.
        if one.as_ref().err() != Some(&Code::ResourceExhausted) && other.as_ref().err() != Some(&Code::ResourceExhausted) {
            prop_assert_eq!(&one, &other);
        }
        for code in [one, other].into_iter().filter_map(Result::err) {
            // The one exception that the compression spec demands.
            let undeclared = code == Code::Internal && !manner.is_compressed;
            prop_assert!(
                undeclared || matches!(code, Code::InvalidArgument | Code::ResourceExhausted | Code::Unimplemented),
                "{:?}", code
            );
        }
    }

    #[test]
    fn any_query_is_read_or_refused(query in "[a-z0-9=&%+_-]{0,80}|(message|base64|encoding|connect|compression|[=&%1v]){0,12}") {
        let _ = query::codec(&query);
        if let Ok(call) = query::call(&query) {
            prop_assert!(call.message.len() <= query.len());
        }
    }

    #[test]
    fn a_message_survives_its_json(bytes in prop::collection::vec(any::<u8>(), 0..60), which in any::<prop::sample::Index>()) {
        let descriptor = which.get(descriptors_once());
        if let Ok(message) = DynamicMessage::decode(descriptor.clone(), bytes.as_slice())
            && let Some(text) = json::from_proto(descriptor, &bytes)
        {
            let again = json::to_proto(descriptor, &text);
            prop_assert!(again.is_ok(), "{}: {:?}", String::from_utf8_lossy(&text), again);
            let again = DynamicMessage::decode(descriptor.clone(), again.unwrap().as_slice()).unwrap();
            // What JSON does not carry: fields the contract does not know.
            let mut known = message;
            let _ = known.take_unknown_fields().count();
            prop_assert_eq!(json::from_proto(descriptor, &again.encode_to_vec()), Some(text));
        }
    }

    #[test]
    fn decompression_never_gives_more_than_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..200), max in 0_usize..100) {
        if let Ok(message) = gzip::decompress(&bytes, max) {
            prop_assert!(message.len() <= max);
        }
    }
}

fn descriptors_once() -> &'static [MessageDescriptor] {
    static ONCE: std::sync::OnceLock<Vec<MessageDescriptor>> = std::sync::OnceLock::new();
    ONCE.get_or_init(descriptors)
}
