//! The data that all contestants are given: the same on every machine and in every run. There is no clock in it and no
//! randomness but SplitMix64 from fixed seeds.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// When the writing begins, for contestants whose stamps are times in milliseconds.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// What stands for a replica's number where ids must be unlike all others in the world, as they are in use: 64 mixed bits.
pub(crate) fn wide(id: u64) -> u64 {
    Random::new(id).next()
}

/// The names of the fields, for contestants whose documents have names for them.
pub(crate) const NAMES: [&str; 4] = ["name", "email", "age", "active"];

/// SplitMix64.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn letters(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'a' + (self.next() % 26) as u8)).collect()
    }
}

/// The key of a document, in both forms: contestants that know texts only need not format it while they are measured.
pub(crate) struct Key {
    pub(crate) id: Uuid,
    /// 32 hexadecimal digits.
    pub(crate) text: String,
}

impl Key {
    fn new(random: &mut Random) -> Self {
        let id = Uuid::from_u64_pair(random.next(), random.next());
        Self { id, text: text_of(id) }
    }
}

/// How a key is written where keys are texts.
pub(crate) fn text_of(id: Uuid) -> String {
    id.simple().to_string()
}

/// The key that a text stands for.
pub(crate) fn id_of(text: &str) -> Uuid {
    Uuid::try_parse(text).expect("keys are written by `text_of`")
}

/// Which field of a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Field {
    Name,
    Email,
    Age,
    Active,
}

impl Field {
    pub(crate) const ALL: [Self; 4] = [Self::Name, Self::Email, Self::Age, Self::Active];

    pub(crate) fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}

/// The value of one field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Value {
    Name(String),
    Email(String),
    Age(i64),
    Active(bool),
}

impl Value {
    pub(crate) fn field(&self) -> Field {
        match self {
            Self::Name(_) => Field::Name,
            Self::Email(_) => Field::Email,
            Self::Age(_) => Field::Age,
            Self::Active(_) => Field::Active,
        }
    }
}

/// The same borrowed: it is written as a [`Value`] is.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum ValueRef<'a> {
    Name(&'a str),
    Email(&'a str),
    Age(i64),
    Active(bool),
}

/// What a read of a text adds to the sum that shows that it was read.
pub(crate) fn weight_of_text(text: &str) -> u64 {
    text.len() as u64 + text.as_bytes().first().map_or(0, |first| u64::from(*first))
}

/// The same for a whole number.
pub(crate) fn weight_of_number(number: i64) -> u64 {
    number.unsigned_abs()
}

/// The same for a flag.
pub(crate) fn weight_of_flag(flag: bool) -> u64 {
    u64::from(flag)
}

/// A document as it is, without anything to merge it by.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Fields {
    /// 16 letters.
    pub(crate) name: String,
    /// 24 bytes: 12 letters and a domain.
    pub(crate) email: String,
    /// In days.
    pub(crate) age: i64,
    pub(crate) active: bool,
}

impl Fields {
    fn new(random: &mut Random) -> Self {
        Self { name: name(random), email: email(random), age: age(random), active: true }
    }

    pub(crate) fn value(&self, field: Field) -> Value {
        match field {
            Field::Name => Value::Name(self.name.clone()),
            Field::Email => Value::Email(self.email.clone()),
            Field::Age => Value::Age(self.age),
            Field::Active => Value::Active(self.active),
        }
    }

    pub(crate) fn set(&mut self, value: Value) {
        match value {
            Value::Name(name) => self.name = name,
            Value::Email(email) => self.email = email,
            Value::Age(age) => self.age = age,
            Value::Active(active) => self.active = active,
        }
    }

    pub(crate) fn weight_of(&self, field: Field) -> u64 {
        match field {
            Field::Name => weight_of_text(&self.name),
            Field::Email => weight_of_text(&self.email),
            Field::Age => weight_of_number(self.age),
            Field::Active => weight_of_flag(self.active),
        }
    }

    pub(crate) fn weight(&self) -> u64 {
        Field::ALL.iter().map(|field| self.weight_of(*field)).sum()
    }

    /// A value for `field` that differs from the present one.
    pub(crate) fn another(&self, field: Field, random: &mut Random) -> Value {
        loop {
            let value = match field {
                Field::Name => Value::Name(name(random)),
                Field::Email => Value::Email(email(random)),
                Field::Age => Value::Age(age(random)),
                Field::Active => Value::Active(!self.active),
            };
            if value != self.value(field) {
                return value;
            }
        }
    }
}

fn name(random: &mut Random) -> String {
    random.letters(16)
}

fn email(random: &mut Random) -> String {
    let mut email = random.letters(12);
    email.push_str("@example.com");
    email
}

fn age(random: &mut Random) -> i64 {
    random.below(36_500) as i64
}

/// What a replica holds of one document, read into plain values.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Record {
    pub(crate) fields: Fields,
    pub(crate) tags: BTreeSet<u64>,
}

/// All that a replica holds, read into a plain map.
pub(crate) type Contents = HashMap<Uuid, Record>;

/// The documents of a run.
pub(crate) struct Data {
    pub(crate) keys: Vec<Key>,
    fields: Vec<Fields>,
    tags: Vec<u64>,
}

/// A document to be written.
#[derive(Clone, Copy)]
pub(crate) struct Document<'a> {
    pub(crate) key: &'a Key,
    pub(crate) fields: &'a Fields,
    /// Empty where documents have no tags.
    pub(crate) tags: &'a [u64],
}

/// One field to be written.
#[derive(Clone)]
pub(crate) struct Change<'a> {
    pub(crate) key: &'a Key,
    pub(crate) value: Value,
}

/// One tag to be added to a document or removed from it.
#[derive(Clone, Copy)]
pub(crate) struct TagChange<'a> {
    pub(crate) key: &'a Key,
    pub(crate) tag: u64,
    pub(crate) is_added: bool,
}

/// The tags that each tagged document has from the beginning: one for each round in which tags are removed.
pub(crate) const FIRST_TAGS: [u64; 3] = [1, 2, 3];

impl Data {
    pub(crate) fn new(documents: usize) -> Self {
        let mut random = Random::new(1);
        let keys = (0..documents).map(|_| Key::new(&mut random)).collect();
        let fields = (0..documents).map(|_| Fields::new(&mut random)).collect();
        Self { keys, fields, tags: Vec::new() }
    }

    /// The same with tags.
    pub(crate) fn tagged(documents: usize) -> Self {
        Self { tags: FIRST_TAGS.to_vec(), ..Self::new(documents) }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn documents(&self) -> Vec<Document<'_>> {
        let pairs = self.keys.iter().zip(&self.fields);
        pairs.map(|(key, fields)| Document { key, fields, tags: &self.tags }).collect()
    }

    pub(crate) fn contents(&self) -> Contents {
        let tags: BTreeSet<u64> = self.tags.iter().copied().collect();
        let record = |fields: &Fields| Record { fields: fields.clone(), tags: tags.clone() };
        self.keys.iter().zip(&self.fields).map(|(key, fields)| (key.id, record(fields))).collect()
    }

    /// The bytes of all documents with nothing but lengths beside them: what an encoding is compared with.
    pub(crate) fn raw(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Document { key, fields, .. } in self.documents() {
            bytes.extend(key.id.as_bytes());
            for text in [&fields.name, &fields.email] {
                bytes.push(text.len() as u8);
                bytes.extend(text.as_bytes());
            }
            bytes.extend((fields.age as u32).to_be_bytes());
            bytes.push(u8::from(fields.active));
        }
        bytes
    }
}
