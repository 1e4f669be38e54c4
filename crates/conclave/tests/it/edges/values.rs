//! Requests with one field at an edge: every field of a message, and of the messages in it.

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
};

/// Values at which numbers of 32 or 64 bits change their meaning.
const NUMBERS: [u64; 8] = [
    0,
    1,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX,
];
/// Values that no enum has, beside those that most have.
const ENUMS: [i32; 5] = [0, 1, 99, i32::MAX, i32::MIN];
/// Lengths of texts and bytes: nothing, one, that of an id, of a name and of a secret, one more,
/// the longest text, and far more.
const LENGTHS: [usize; 7] = [0, 1, 16, 32, 33, 16 * 1024, 64 * 1024];
/// Texts that are unusual in another way than their length.
const TEXTS: [&str; 3] = ["\0", "\u{202e}\u{1f980}", "' OR 1=1 --"];
/// Numbers of repetitions of a list's element: none, twice the same, more than any list may have.
const REPEATED: [usize; 3] = [0, 2, 20_000];

/// Fields on the way to a field, from the outermost message.
type Path = Vec<FieldDescriptor>;

/// A request, and the name of its edge.
pub(super) struct Edged {
    pub(super) what: String,
    pub(super) request: DynamicMessage,
}

/// Returns `base`, and copies of it in each of which one field has another value.
pub(super) fn all(base: &DynamicMessage) -> Vec<Edged> {
    let mut all = vec![Edged {
        what: "as it should be".to_owned(),
        request: base.clone(),
    }];
    for path in paths(&base.descriptor()) {
        let field = path.last().expect("a path has a field");
        let names: Vec<&str> = path.iter().map(FieldDescriptor::name).collect();
        let name = names.join(".");
        let mut add = |value: Option<Value>, told: String| {
            let mut request = base.clone();
            set(&mut request, &path, value);
            let what = format!("{name} = {told}");
            all.push(Edged { what, request });
        };
        for (value, told) in edges(&field.kind()) {
            add(Some(value), told);
        }
        if field.is_list() {
            for times in REPEATED {
                let mut request = base.clone();
                repeat(&mut request, &path, times);
                let what = format!("{name}: {times} times");
                all.push(Edged { what, request });
            }
        } else if field.supports_presence() {
            add(None, "nothing".to_owned());
        }
    }
    all
}

/// Returns the paths of every field, and of every field of the messages in it.
fn paths(message: &MessageDescriptor) -> Vec<Path> {
    let mut paths = Vec::new();
    for field in message.fields() {
        paths.push(vec![field.clone()]);
        if let Kind::Message(inner) = field.kind() {
            let inner = paths_within(&field, &inner);
            paths.extend(inner);
        }
    }
    paths
}

fn paths_within(field: &FieldDescriptor, inner: &MessageDescriptor) -> Vec<Path> {
    let with_outer = |path: Path| [vec![field.clone()], path].concat();
    paths(inner).into_iter().map(with_outer).collect()
}

fn edges(kind: &Kind) -> Vec<(Value, String)> {
    let told = |value: Value, told: &dyn std::fmt::Display| (value, told.to_string());
    match kind {
        Kind::Uint64 => NUMBERS.iter().map(|n| told(Value::U64(*n), n)).collect(),
        Kind::Uint32 => NUMBERS
            .iter()
            .filter_map(|n| u32::try_from(*n).ok())
            .map(|n| told(Value::U32(n), &n))
            .collect(),
        Kind::Sint32 => ENUMS.iter().map(|n| told(Value::I32(*n), n)).collect(),
        Kind::Enum(_) => ENUMS
            .iter()
            .map(|n| told(Value::EnumNumber(*n), n))
            .collect(),
        Kind::Bool => [false, true].map(|b| told(Value::Bool(b), &b)).into(),
        Kind::String => {
            let long = LENGTHS.map(|n| (Value::String("x".repeat(n)), format!("{n} bytes")));
            let odd = TEXTS.map(|text| (Value::String(text.to_owned()), format!("{text:?}")));
            long.into_iter().chain(odd).collect()
        }
        Kind::Bytes => LENGTHS
            .map(|n| (Value::Bytes(vec![7; n].into()), format!("{n} bytes")))
            .into(),
        Kind::Message(_) => Vec::new(),
        other => panic!("the protocol has a new kind of number: {other:?}"),
    }
}

/// Sets a field, also of a message that is not there yet, or of the first of several.
fn set(message: &mut DynamicMessage, path: &[FieldDescriptor], value: Option<Value>) {
    let (field, rest) = path.split_first().expect("it is not empty");
    if rest.is_empty() {
        match value {
            Some(value) if field.is_list() => message.set_field(field, Value::List(vec![value])),
            Some(value) => message.set_field(field, value),
            None => message.clear_field(field),
        }
        return;
    }
    set(inner(message, field), rest, value);
}

/// Repeats the first element of a list, or an empty one if it has none.
fn repeat(message: &mut DynamicMessage, path: &[FieldDescriptor], times: usize) {
    let (field, rest) = path.split_first().expect("it is not empty");
    if !rest.is_empty() {
        return repeat(inner(message, field), rest, times);
    }
    let list = message.get_field_mut(field).as_list_mut();
    let list = list.expect("it is a list");
    let first = list.first().cloned().unwrap_or_else(|| empty(field));
    *list = vec![first; times];
}

fn inner<'a>(message: &'a mut DynamicMessage, field: &FieldDescriptor) -> &'a mut DynamicMessage {
    if !message.has_field(field) {
        let value = match field.is_list() {
            true => Value::List(vec![empty(field)]),
            false => empty(field),
        };
        message.set_field(field, value);
    }
    let value = message.get_field_mut(field);
    let value = match field.is_list() {
        true => value.as_list_mut().and_then(|list| list.first_mut()),
        false => Some(value),
    };
    let message = value.and_then(Value::as_message_mut);
    message.expect("a path leads through messages")
}

fn empty(field: &FieldDescriptor) -> Value {
    Value::default_value(&field.kind())
}
