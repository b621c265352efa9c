//! Tests with packets that are not valid queries.

use super::*;

fn plain() -> Vec<u8> {
    question("www.google.com.", RecordType::A).to_vec().unwrap()
}

#[track_caller]
fn assert_rejected(packet: &[u8], code: ResponseCode) -> Message {
    let (disposition, bytes) = answered(packet, UDP);
    assert!(matches!(disposition, Disposition::Invalid(Some(_))), "{disposition:?}");
    let message = Message::from_vec(&bytes).unwrap();
    assert_eq!(u16::from(message.metadata.response_code), u16::from(code));
    assert_eq!(bytes[..2], packet[..2], "the ID is repeated");
    assert!(message.answers.is_empty());
    message
}

/// RFC 1035 §4.1.1: a packet without a header has no ID for a response. Responses to responses would loop.
#[test]
fn packets_without_a_header_and_responses_are_dropped() {
    let mut response = plain();
    response[2] |= 0x80;
    for packet in [&response[..], &response[..12], &plain()[..11], &[]] {
        assert!(matches!(answered(packet, UDP).0, Disposition::Invalid(None)));
    }
}

#[test]
fn an_incomplete_query_is_malformed() {
    let whole = plain();
    for end in 12..whole.len() {
        assert_rejected(&whole[..end], ResponseCode::FormErr);
    }
}

/// RFC 9619 §4. The agent's DNS library also rejects them, before the rules of the agent
/// (`pkg/dns/client/dns.go:280-286,307-310`) apply.
#[test]
fn a_query_without_exactly_one_question_is_malformed() {
    for count in [0, 2, 0xffff] {
        let mut packet = plain();
        packet[4..6].copy_from_slice(&u16::to_be_bytes(count));
        assert_rejected(&packet, ResponseCode::FormErr);
    }
}

#[test]
fn a_question_with_a_pointer_or_an_unknown_label_is_malformed() {
    for byte in [0xc0, 0x40, 0x80, 64] {
        let mut packet = plain();
        packet[12] = byte;
        assert_rejected(&packet, ResponseCode::FormErr);
    }
}

#[test]
fn a_name_of_more_than_255_bytes_is_malformed() {
    let mut packet = plain()[..12].to_vec();
    for _ in 0..4 {
        packet.push(63);
        packet.extend_from_slice(&[b'a'; 63]);
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    assert_rejected(&packet, ResponseCode::FormErr);
}

/// RFC 1035 §2.3.4: the limit of 255 bytes includes the length bytes and the root label.
#[test]
fn a_name_of_255_bytes_is_valid_and_one_of_256_bytes_is_not() {
    let name = |last: u8| {
        let mut packet = plain()[..12].to_vec();
        for label in [63, 63, 63, last] {
            packet.push(label);
            packet.extend(vec![b'a'; label.into()]);
        }
        packet.extend_from_slice(&[0, 0, 1, 0, 1]);
        packet
    };
    let longest = name(61);
    assert_eq!(longest.len() - 12 - 4, 255);
    let (disposition, after) = answered(&longest, UDP);
    assert!(matches!(disposition, Disposition::Forward(asked) if asked.query.name().len() == 253));
    assert_eq!(longest, after);
    assert_rejected(&name(62), ResponseCode::FormErr);
}

/// RFC 1035 §4.1.4: a pointer refers to an earlier name, and no name precedes the question.
#[test]
fn a_pointer_loop_is_malformed_in_the_question_and_ignored_in_other_records() {
    let mut itself = plain()[..12].to_vec();
    itself.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
    assert_rejected(&itself, ResponseCode::FormErr);
    let mut packet = plain();
    let [high, low] = u16::to_be_bytes(0xc000 + u16::try_from(packet.len()).unwrap());
    packet.extend_from_slice(&[high, low, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4]);
    packet[11] = 1;
    assert!(matches!(answered(&packet, UDP).0, Disposition::Answer(_)));
}

/// RFC 1035 §4.1.1.
#[test]
fn other_opcodes_are_not_implemented() {
    for operation in 1..16 {
        let mut packet = plain();
        packet[2] = packet[2] & 0x87 | operation << 3;
        let (disposition, bytes) = answered(&packet, UDP);
        assert!(matches!(disposition, Disposition::Invalid(Some(12))));
        assert_eq!((bytes[2] & 0x78, bytes[3] & 0x0f), (operation << 3, 4));
    }
}

fn opt() -> Vec<u8> {
    with_edns(question("www.google.com.", RecordType::A), 1232).to_vec().unwrap()
}

/// RFC 6891 §6.1.3.
#[test]
fn an_unknown_edns_version_is_answered_with_version_zero() {
    let mut packet = opt();
    let version = packet.len() - 5;
    packet[version] = 1;
    let message = assert_rejected(&packet, ResponseCode::BADVERS);
    assert_eq!(message.edns.unwrap().version(), 0);
}

/// RFC 6891 §6.1.1.
#[test]
fn two_opt_records_or_an_opt_record_with_a_name_are_malformed() {
    let mut twice = opt();
    let record = twice[twice.len() - 11..].to_vec();
    twice.extend_from_slice(&record);
    twice[11] = 2;
    assert_rejected(&twice, ResponseCode::FormErr);
    let mut named = opt();
    let at = named.len() - 11;
    named.splice(at..=at, [1, b'a', 0]);
    assert_rejected(&named, ResponseCode::FormErr);
}

/// RFC 6891 §6.1.1: an OPT record belongs to the additional section.
#[test]
fn an_opt_record_outside_the_additional_section_is_malformed() {
    for count in [7, 9] {
        let mut packet = opt();
        packet[11] = 0;
        packet[count] = 1;
        assert_rejected(&packet, ResponseCode::FormErr);
    }
}

/// RFC 6891 §6.1.2: unknown options are ignored and not repeated.
#[test]
fn unknown_edns_options_and_flags_are_ignored() {
    let mut packet = opt();
    let len = packet.len();
    // All flags except DO, and an option of four bytes.
    packet[len - 4..].copy_from_slice(&[0x7f, 0xff, 0, 8]);
    packet.extend_from_slice(&[0xfd, 0xe9, 0, 4, 1, 2, 3, 4]);
    let (disposition, bytes) = answered(&packet, UDP);
    assert!(matches!(disposition, Disposition::Answer(_)));
    assert_eq!(bytes[bytes.len() - 4..], [0, 0, 0, 0]);
}

#[test]
fn a_query_with_fewer_records_than_its_counts_is_malformed() {
    for at in [7, 9, 11] {
        let mut packet = plain();
        packet[at] = 1;
        assert_rejected(&packet, ResponseCode::FormErr);
    }
}

#[test]
fn other_records_in_a_query_are_skipped() {
    let mut packet = opt();
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4];
    let at = packet.len() - 11;
    packet.splice(at..at, record);
    packet[11] = 2;
    assert!(matches!(answered(&packet, UDP).0, Disposition::Answer(_)));
}

/// Generates queries with some bytes changed or removed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (proptest::collection::vec(change, 0..6), any::<bool>(), any::<prop::sample::Index>()).prop_map(
        |(changes, cut, end)| {
            let mut packet = opt();
            for (at, byte) in changes {
                let at = at.index(packet.len());
                packet[at] = byte;
            }
            if cut {
                packet.truncate(end.index(packet.len()));
            }
            packet
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_get_a_valid_response_or_none(
        packet in prop_oneof![damaged(), proptest::collection::vec(any::<u8>(), 0..300)],
        tcp in any::<bool>(),
    ) {
        let transport = if tcp { Transport::Tcp } else { UDP };
        let (disposition, bytes) = answered(&packet, transport);
        match disposition {
            Disposition::Answer(len) | Disposition::NoLocalAddress(len) | Disposition::Invalid(Some(len)) => {
                prop_assert!((12..=MAX_MESSAGE).contains(&len));
                prop_assert_eq!(&bytes[..2], &packet[..2]);
                prop_assert_eq!(bytes[2] & 0x80, 0x80);
                prop_assert!(Message::from_vec(&bytes).is_ok(), "{:?}", bytes);
            }
            Disposition::Forward(_) | Disposition::Invalid(None) => prop_assert_eq!(bytes, packet),
        }
    }
}
