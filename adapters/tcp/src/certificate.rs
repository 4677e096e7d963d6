//! What a certificate says: whose it is, and until when.

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;

/// The domain names of a certificate.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    let certificate = webpki::EndEntityCert::try_from(certificate)?;
    Ok(certificate.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// From when on a certificate is not valid any more. None: it is malformed.
///
/// It names the last second in which it is; this is the end of that second. The TLS library checks it but does not tell it.
/// It is the second time of the fifth part of what is signed, RFC 5280 §4.1:
/// `Certificate { signed { [0] version, serial, algorithm, issuer, validity { not_before, not_after }, … }, … }`.
pub(crate) fn end(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (tag, certificate, _) = element(certificate)?;
    let (signed_tag, mut signed, _) = element(certificate)?;
    if (tag, signed_tag) != (SEQUENCE, SEQUENCE) {
        return None;
    }
    if signed.first() == Some(&VERSION) {
        (_, _, signed) = element(signed)?;
    }
    for _serial_algorithm_issuer in 0..3 {
        (_, _, signed) = element(signed)?;
    }
    let (SEQUENCE, validity, _) = element(signed)? else {
        return None;
    };
    let (_, _, validity) = element(validity)?;
    let (tag, last, _) = element(validity)?;
    time(tag, last)?.checked_add(Duration::from_secs(1))
}

/// The first element of DER: its tag, what is in it, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, short], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(short & 3))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (inner, rest) = rest.split_at_checked(length)?;
    Some((tag, inner, rest))
}

/// A time: `YYMMDDHHMMSSZ` of 1950 to 2049, or `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => match number(&digits[..2]) {
            year @ 0..50 => (2000 + year, &digits[2..]),
            year => (1900 + year, &digits[2..]),
        },
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let mut parts = rest.chunks(2).map(number);
    let mut part = || parts.next();
    let (month, day, hour, minute, second) = (part()?, part()?, part()?, part()?, part()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Of a day of the Gregorian calendar, not before 1970. Years begin in March here, so that the day that is sometimes missing is
/// the last.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(tag: u8, text: &str) -> Option<u64> {
        let time = time(tag, text.as_bytes())?;
        time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
    }

    #[test]
    fn times_are_read() {
        assert_eq!(unix(0x17, "700101000000Z"), Some(0));
        assert_eq!(unix(0x17, "261122034511Z"), Some(1_795_319_111));
        assert_eq!(unix(0x17, "000229235959Z"), Some(951_868_799));
        assert_eq!(unix(0x17, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(unix(0x18, "20500101000000Z"), Some(2_524_608_000));
        assert_eq!(unix(0x18, "99991231235959Z"), Some(253_402_300_799));
        for (tag, wrong) in [
            (0x17, "700101000000"),
            (0x17, "20500101000000Z"),
            (0x18, "700101000000Z"),
            (0x17, "7001010000+0Z"),
            (0x17, "701301000000Z"),
            (0x17, "700100000000Z"),
            (0x17, "500101000000Z"),
            (0x18, "00000101000000Z"),
            (0x04, "700101000000Z"),
            (0x17, ""),
        ] {
            assert_eq!(unix(tag, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_bytes_do_harm() {
        for length in 0..6 {
            for byte in [0x00, 0x30, 0x80, 0x81, 0x83, 0x84, 0xff] {
                assert_eq!(end(&CertificateDer::from(vec![byte; length])), None);
            }
        }
    }
}
