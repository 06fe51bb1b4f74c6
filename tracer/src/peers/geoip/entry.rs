//! An entry of a database, whoever made it: known names of fields are understood in whatever shape,
//! all else is passed over. Pure.
//!
//! | | country | city | AS |
//! |---|---|---|---|
//! | `GeoLite2`, `GeoIP2`, DB-IP, `IP2Location` | `country.iso_code` | `city.names.en` | `autonomous_system_number`, `…_organization`, also in `traits` |
//! | `IPinfo` | `country_code`, or `country` with two letters | `city` | `asn` as in `AS64500`, `as_name` |

use compact_str::CompactString;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::names::escape;
use crate::record::Peer;

/// Bytes of a text at most: a replay takes no longer ones.
const MAX_TEXT: usize = 200;

/// What is understood of an entry.
#[derive(Debug, Default)]
pub(super) struct Entry {
    country: Value,
    country_code: Value,
    city: Value,
    numbers: [Value; 3],
    organizations: [Value; 4],
}

impl Entry {
    /// Whether there is anything that a peer could be told by.
    pub(super) fn is_empty(&self) -> bool {
        let mut peer = Peer::default();
        self.fill(&mut peer);
        peer == Peer::default()
    }

    /// Gives `peer` what it does not have yet.
    pub(super) fn fill(&self, peer: &mut Peer) {
        set(&mut peer.country, || {
            let country = [&self.country, &self.country_code].into_iter();
            country.filter_map(Value::code).find_map(country_code)
        });
        set(&mut peer.city, || self.city.text().map(bounded));
        set(&mut peer.asn, || {
            self.numbers.iter().find_map(Value::as_number)
        });
        set(&mut peer.organization, || {
            self.organizations.iter().find_map(Value::text).map(bounded)
        });
    }

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let field = match key {
            "country" => &mut self.country,
            "country_code" => &mut self.country_code,
            "city" => &mut self.city,
            "autonomous_system_number" => &mut self.numbers[0],
            "asn" => &mut self.numbers[1],
            "autonomous_system_organization" => &mut self.organizations[0],
            "as_name" => &mut self.organizations[1],
            "as_organization" => &mut self.organizations[2],
            "traits" => {
                let traits: Value = map.next_value()?;
                if let Value::Map(traits) = traits {
                    self.numbers[2] = traits.number.map_or(Value::Unknown, Value::Number);
                    self.organizations[3] = traits.organization.map_or(Value::Unknown, Value::Text);
                }
                return Ok(());
            }
            _ => return map.next_value::<IgnoredAny>().map(drop),
        };
        *field = map.next_value()?;
        Ok(())
    }
}

fn set<T>(field: &mut Option<T>, value: impl FnOnce() -> Option<T>) {
    if field.is_none() {
        *field = value();
    }
}

/// Two letters, as ISO has them. Databases write `-` for what they do not know.
fn country_code(text: &str) -> Option<CompactString> {
    let is_code = text.len() == 2 && text.bytes().all(|letter| letter.is_ascii_alphabetic());
    is_code.then(|| text.to_ascii_uppercase().into())
}

/// Visible, on one line, and no longer than need be.
fn bounded(text: &str) -> CompactString {
    let cut = |text: &str| text.floor_char_boundary(MAX_TEXT);
    let mut visible = escape(&text.as_bytes()[..cut(text)]);
    visible.truncate(cut(&visible));
    visible
}

/// A field, as far as it can matter.
#[derive(Debug, Default, PartialEq)]
enum Value {
    #[default]
    Unknown,
    Text(CompactString),
    Number(u64),
    Map(Box<Fields>),
}

/// A map in an entry: a country, a city, or traits.
#[derive(Debug, Default, PartialEq)]
struct Fields {
    code: Option<CompactString>,
    name: Option<CompactString>,
    number: Option<u64>,
    organization: Option<CompactString>,
}

impl Value {
    /// What may be a country's code.
    fn code(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Map(fields) => fields.code.as_deref(),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        let text = match self {
            Self::Text(text) => text,
            Self::Map(fields) => fields.name.as_ref()?,
            _ => return None,
        };
        let text = text.trim();
        (!text.is_empty() && text != "-").then_some(text)
    }

    /// The number of an AS; none has 0.
    fn as_number(&self) -> Option<u32> {
        let number = match self {
            Self::Number(number) => u32::try_from(*number).ok(),
            Self::Text(text) => {
                let digits = text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
                digits.parse().ok()
            }
            _ => None,
        };
        number.filter(|number| *number != 0)
    }
}

/// Visits what nobody here can use.
macro_rules! all_else_is_nothing {
    () => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_i128<E>(self, _: i128) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_u128<E>(self, _: u128) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_bytes<E>(self, _: &[u8]) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an entry")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut entry = Entry::default();
        while let Some(key) = map.next_key::<CompactString>()? {
            entry.take(&key, &mut map)?;
        }
        Ok(entry)
    }

    fn visit_str<E>(self, _: &str) -> Result<Entry, E> {
        Ok(Entry::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Entry, E> {
        Ok(Entry::default())
    }

    all_else_is_nothing!();
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a field")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        // Never longer than it is shown; the rest need not be carried about.
        let text = &text[..text.floor_char_boundary(MAX_TEXT)];
        Ok(Value::Text(text.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<CompactString>()? {
            match &*key {
                "iso_code" | "code" => fields.code = map.next_value::<Leaf>()?.text,
                "name" => fields.name = map.next_value::<Leaf>()?.text,
                "names" => fields.name = map.next_value::<Names>()?.0.or(fields.name),
                "autonomous_system_number" => fields.number = map.next_value::<Leaf>()?.number,
                "autonomous_system_organization" => {
                    fields.organization = map.next_value::<Leaf>()?.text;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Map(Box::new(fields)))
    }

    all_else_is_nothing!();
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// A field of a map in an entry. Maps in it are passed over, so that nesting ends here.
#[derive(Default)]
struct Leaf {
    text: Option<CompactString>,
    number: Option<u64>,
}

struct LeafVisitor;

impl<'de> Visitor<'de> for LeafVisitor {
    type Value = Leaf;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E>(self, text: &str) -> Result<Leaf, E> {
        let text = &text[..text.floor_char_boundary(MAX_TEXT)];
        Ok(Leaf {
            text: Some(text.into()),
            number: None,
        })
    }

    fn visit_u64<E>(self, number: u64) -> Result<Leaf, E> {
        Ok(Leaf {
            text: None,
            number: Some(number),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Leaf, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Leaf::default())
    }

    all_else_is_nothing!();
}

impl<'de> Deserialize<'de> for Leaf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LeafVisitor)
    }
}

/// A name in several languages: the English one, or else the first.
#[derive(Default)]
struct Names(Option<CompactString>);

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("names by language")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
        let mut name = None;
        while let Some(key) = map.next_key::<CompactString>()? {
            if name.is_none() || key == "en" {
                name = map.next_value::<Leaf>()?.text.or(name);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Names(name))
    }

    fn visit_str<E>(self, _: &str) -> Result<Names, E> {
        Ok(Names(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Names, E> {
        Ok(Names(None))
    }

    all_else_is_nothing!();
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn peer(entry: Json) -> Peer {
        let entry: Entry = serde_json::from_value(entry).unwrap();
        let mut peer = Peer::default();
        entry.fill(&mut peer);
        assert_eq!(entry.is_empty(), peer == Peer::default());
        peer
    }

    fn expected(country: &str, city: &str, asn: u32, organization: &str) -> Peer {
        let text = |text: &str| (!text.is_empty()).then(|| text.into());
        Peer {
            reverse_dns: None,
            country: text(country),
            city: text(city),
            asn: (asn != 0).then_some(asn),
            organization: text(organization),
        }
    }

    #[test]
    fn entries_of_the_usual_makers_are_understood() {
        for (entry, known) in [
            (
                json!({
                    "city": {"geoname_id": 1, "names": {"de": "Mailand", "en": "Milan", "fr": "Milan"}},
                    "continent": {"code": "EU", "names": {"en": "Europe"}},
                    "country": {"geoname_id": 2, "iso_code": "IT", "names": {"en": "Italy"}},
                    "location": {"latitude": 45.4, "accuracy_radius": 20},
                    "registered_country": {"iso_code": "US"},
                    "subdivisions": [{"iso_code": "25"}],
                }),
                expected("IT", "Milan", 0, ""),
            ),
            (
                json!({
                    "autonomous_system_number": 64500,
                    "autonomous_system_organization": "Example Net",
                }),
                expected("", "", 64_500, "Example Net"),
            ),
            (
                json!({
                    "country": {"iso_code": "SE"},
                    "traits": {
                        "autonomous_system_number": 64501,
                        "autonomous_system_organization": "Traits AB",
                        "isp": "other", "is_anycast": true,
                    },
                }),
                expected("SE", "", 64_501, "Traits AB"),
            ),
            (
                json!({
                    "country": "Australia", "country_code": "AU", "continent": "Oceania",
                    "asn": "AS13335", "as_name": "Example, Inc.", "as_domain": "example.com",
                }),
                expected("AU", "", 13_335, "Example, Inc."),
            ),
            (
                json!({"country": "us", "city": "Springfield", "region": "x", "lat": "1.5"}),
                expected("US", "Springfield", 0, ""),
            ),
        ] {
            assert_eq!(peer(entry.clone()), known, "{entry}");
        }
    }

    #[test]
    fn what_a_database_does_not_know_or_nobody_understands_is_nothing() {
        for entry in [
            json!({}),
            json!("DE"),
            json!([1, {"country": "DE"}]),
            json!(7),
            json!(null),
            json!({"country": {"iso_code": "-", "names": 5}, "city": "-", "asn": "-", "as_name": " "}),
            json!({"country": {"iso_code": {"iso_code": "DE"}}, "city": {"names": {"en": {}}}}),
            json!({"country": "Germany", "city": [], "asn": {}, "traits": "none"}),
            json!({"asn": "AS", "autonomous_system_number": 0, "country_code": "DEU"}),
            json!({"asn": "AS4294967296", "autonomous_system_number": -1, "city": {"names": []}}),
            json!({"country": true, "city": 1.5, "country_code": null}),
        ] {
            assert_eq!(peer(entry.clone()), Peer::default(), "{entry}");
        }
    }

    #[test]
    fn a_city_without_an_english_name_has_another_one() {
        let city = json!({"city": {"names": {"fr": "Genève", "de": "Genf"}}});
        let name = peer(city).city.unwrap();
        assert!(name == "Genève" || name == "Genf", "{name}");
        let named = json!({"city": {"name": "Geneva"}});
        assert_eq!(peer(named).city.unwrap(), "Geneva");
    }

    #[test]
    fn texts_are_visible_and_short_and_no_letter_is_cut() {
        let city = |name: &str| peer(json!({"city": name})).city.unwrap();
        assert_eq!(city("a\u{1b}[2J\nb"), r"a\x1b[2J\nb");
        assert_eq!(city(&"ö".repeat(1_000)), "ö".repeat(100));
        let hostile = city(&"\u{202e}".repeat(1_000));
        assert!(hostile.len() <= MAX_TEXT && hostile.starts_with(r"\u{202e}\u{202e}"));
    }

    #[test]
    fn only_what_is_missing_is_filled_in() {
        let mut peer = expected("DE", "", 0, "");
        let entry = json!({"country_code": "FR", "city": "Paris"});
        let entry: Entry = serde_json::from_value(entry).unwrap();
        entry.fill(&mut peer);
        assert_eq!(peer, expected("DE", "Paris", 0, ""));
    }
}
