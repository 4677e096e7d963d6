//! Documents as subjects.

use driftless::{
    Counter, Document, DocumentError, Flag, Float, Kind, LwwRegister, MvRegister, OrSet, Value, Writer,
};

use crate::oracle::{Item, Live, Payload, Place};
use crate::schema::Schema;
use crate::subject::types::{Numbered, Sample};
use crate::subject::{Canonical, Reading, Readings, Script, Stop, Subject};

const KINDS: [Kind; 6] = [Kind::Register, Kind::Values, Kind::Set, Kind::Counter, Kind::Flag, Kind::Map];

/// Calls a function of the type that state of a kind has.
macro_rules! of_kind {
    ($kind:expr, $function:ident($($argument:expr),*)) => {
        match $kind {
            Kind::Register => LwwRegister::<Value>::$function($($argument),*),
            Kind::Values => MvRegister::<Value>::$function($($argument),*),
            Kind::Set => OrSet::<Value>::$function($($argument),*),
            Kind::Counter => Counter::$function($($argument),*),
            Kind::Flag => Flag::$function($($argument),*),
            _ => Document::$function($($argument),*),
        }
    };
}
impl Sample for Value {
    fn sample(script: &mut Script<'_>) -> Self {
        match script.pick(8) {
            0 => Self::Int(script.pick(5) as i64),
            1 => Self::Null,
            2 => Self::Bool(true),
            3 => Self::Text(String::sample(script)),
            4 => Self::Float(Float([0.0, -0.0, f64::NAN, 0.5][script.pick(4)])),
            5 => Self::Bytes(vec![0; script.pick(3)]),
            6 => Self::Uuid(uuid::Uuid::from_u128(script.pick(3) as u128)),
            _ => Self::List(vec![Self::Int(1), Self::Map([("a".to_owned(), Self::Null)].into())]),
        }
    }
}

impl Numbered for Value {
    fn numbered(number: u8) -> Self {
        Self::from(number)
    }
}

/// Where a script acts on a document: the names of maps, and a name within the last of them.
struct Target {
    path: Vec<String>,
    kind: Kind,
}

impl Target {
    /// Names mostly hold one kind each, so that replicas meet; now and then any.
    fn choose(script: &mut Script<'_>) -> Self {
        let depth = [0, 0, 1, 1, 1, 2][script.pick(6)];
        let mut path: Vec<_> = (0..depth).map(|_| format!("map-{}", script.pick(2))).collect();
        let number = usize::from(script.key());
        let clash = script.pick(12) == 11;
        path.push(if clash { "map-0".to_owned() } else { format!("name-{number}") });
        let kind = if script.pick(12) == 11 { script.pick(5) } else { number % 5 };
        Self { path, kind: KINDS[kind] }
    }

    /// Where the name is.
    fn name(&self, from: &Place) -> Place {
        let mut place = from.clone();
        for (level, name) in self.path.iter().enumerate() {
            if level > 0 {
                place.push(Item::Kind(Kind::Map));
            }
            place.push(Item::Key(Value::from(name.as_str())));
        }
        place
    }

    /// What stands in the way of writing, if anything does: where other kinds are live, and not the one that is asked for.
    fn obstacle(&self, script: &Script<'_>) -> Option<DocumentError> {
        (1..=self.path.len()).find_map(|len| {
            let upper = Self { path: self.path[..len].to_vec(), kind: Kind::Map };
            let asked = if len == self.path.len() { self.kind } else { Kind::Map };
            let name = upper.name(script.place());
            let is_live = |kind: &Kind| {
                let place = [name.as_slice(), &[Item::Kind(*kind)]].concat();
                script.oracle().is_live(&place)
            };
            let found = KINDS.into_iter().find(is_live)?;
            (!is_live(&asked)).then_some(DocumentError::WrongKind { asked, found })
        })
    }
}

/// What the engine must have said, and what is to be noted of it.
enum Effect {
    Write(Payload),
    Removal(bool),
}

impl Subject for Document {
    fn act(handle: &mut Self::Mut<'_>, script: &mut Script<'_>) -> Result<(), Stop> {
        let target = Target::choose(script);
        if script.pick(6) == 5 {
            let depth = 1 + script.pick(target.path.len());
            return delete(handle, script, &target.path[..depth]);
        }
        let obstacle = target.obstacle(script);
        let element = matches!(target.kind, Kind::Set).then(|| Value::sample(script));
        let done = write(handle, script, &target, element.clone());
        let effect = match (done, obstacle) {
            (Ok(effect), None) => effect,
            (Err(error), Some(obstacle)) if error == obstacle => return Ok(()),
            (Ok(_), obstacle) => return Err(Stop::Fault(format!("{obstacle:?} did not stand in the way"))),
            (Err(error), obstacle) => return Err(Stop::Fault(format!("{error:?}, not {obstacle:?}"))),
        };
        let mut place = target.name(&Vec::new());
        place.push(Item::Kind(target.kind));
        place.extend(element.map(Item::Key));
        at(script, &place, |script| match effect {
            Effect::Write(payload) => script.wrote(payload),
            Effect::Removal(found) => script.removed(found),
        })
    }

    fn wipe(handle: &mut Self::Mut<'_>) {
        let names: Vec<String> = handle.names::<&str>(&[]).into_iter().map(str::to_owned).collect();
        for name in names {
            handle.delete(&[name]).expect("the path has a name");
        }
    }

    fn parse(canonical: &mut Canonical<'_>, place: &mut Place, live: &mut Live) -> Result<(), String> {
        canonical.keys(place, live, |canonical, place, live| {
            for _ in 0..canonical.uint()? {
                let number = canonical.uint()?;
                let kind = KINDS.get(number as usize).ok_or("there is no such kind")?;
                place.push(Item::Kind(*kind));
                of_kind!(kind, parse(canonical, place, live))?;
                place.pop();
            }
            Ok(())
        })
    }

    const SCHEMA: Schema = Schema::Document;

    fn read(&self, place: &mut Place, readings: &mut Readings) {
        read_names(self, &mut Vec::new(), place, readings);
    }
}

fn at<R>(script: &mut Script<'_>, place: &[Item], act: impl FnOnce(&mut Script<'_>) -> R) -> R {
    match place.split_first() {
        None => act(script),
        Some((item, rest)) => script.at(item.clone(), |script| at(script, rest, act)),
    }
}

fn delete(handle: &mut Writer<'_, Document>, script: &mut Script<'_>, path: &[String]) -> Result<(), Stop> {
    let found = handle.delete(path).map_err(|error| Stop::Fault(error.to_string()))?;
    let target = Target { path: path.to_vec(), kind: Kind::Map };
    at(script, &target.name(&Vec::new()), |script| script.removed(found))
}

fn write(
    handle: &mut Writer<'_, Document>,
    script: &mut Script<'_>,
    Target { path, kind }: &Target,
    element: Option<Value>,
) -> Result<Effect, DocumentError> {
    let takes_back = script.pick(3) == 2;
    Ok(match (kind, element) {
        (Kind::Set, Some(element)) if takes_back => Effect::Removal(handle.remove(path, element)?),
        (Kind::Set, Some(element)) => {
            handle.add(path, element)?;
            Effect::Write(Payload::On)
        }
        (Kind::Flag, _) if takes_back => Effect::Removal(handle.disable(path)?),
        (Kind::Flag, _) => {
            handle.enable(path)?;
            Effect::Write(Payload::On)
        }
        (Kind::Counter, _) => {
            let by = script.pick(5) as i64 - 1;
            handle.increment(path, by)?;
            Effect::Write(Payload::Count(by))
        }
        (Kind::Values, _) => {
            let value = Value::sample(script);
            handle.assign(path, value.clone())?;
            Effect::Write(Payload::Value(value))
        }
        // A register; what is a map is written through its names.
        _ => {
            let value = Value::sample(script);
            handle.set(path, value.clone())?;
            Effect::Write(Payload::Value(value))
        }
    })
}

fn read_names(document: &Document, path: &mut Vec<String>, place: &mut Place, readings: &mut Readings) {
    for name in document.names(path) {
        path.push(name.to_owned());
        place.push(Item::Key(Value::from(name)));
        for kind in document.kinds(path) {
            place.push(Item::Kind(kind));
            read_kind(document, kind, path, place, readings);
            place.pop();
        }
        place.pop();
        path.pop();
    }
}

fn read_kind(
    document: &Document,
    kind: Kind,
    path: &mut Vec<String>,
    place: &mut Place,
    readings: &mut Readings,
) {
    match kind {
        Kind::Register => document.register(path).into_iter().for_each(|state| state.read(place, readings)),
        Kind::Values => document.values(path).into_iter().for_each(|state| state.read(place, readings)),
        Kind::Set => document.set_at(path).into_iter().for_each(|state| state.read(place, readings)),
        Kind::Counter => document.counter(path).into_iter().for_each(|state| state.read(place, readings)),
        Kind::Flag if document.is_enabled(path) => drop(readings.insert(place.clone(), Reading::On)),
        Kind::Flag => {}
        _ => read_names(document, path, place, readings),
    }
}
