//! The descriptors of .proto files, by their names and by the symbols in them.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

/// The files of several sets of descriptors.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: Vec<File>,
    /// The places of files by name.
    names: BTreeMap<String, usize>,
    /// The places of files by the full name of what is defined in them.
    symbols: BTreeMap<String, usize>,
    /// The places of files by the full name of a message and the number of an extension of it.
    extensions: BTreeMap<(String, i32), usize>,
}

#[derive(Debug)]
struct File {
    /// The encoded descriptor.
    bytes: Bytes,
    dependencies: Vec<String>,
}

/// The parts of `google.protobuf.FileDescriptorSet` and of the messages in it that names are taken from.
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct FileNames {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(string, repeated, tag = "3")]
    dependency: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    message_type: Vec<MessageNames>,
    #[prost(message, repeated, tag = "5")]
    enum_type: Vec<EnumNames>,
    #[prost(message, repeated, tag = "6")]
    service: Vec<ServiceNames>,
    #[prost(message, repeated, tag = "7")]
    extension: Vec<FieldNames>,
}

#[derive(Clone, PartialEq, Message)]
struct MessageNames {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    field: Vec<FieldNames>,
    #[prost(message, repeated, tag = "3")]
    nested_type: Vec<MessageNames>,
    #[prost(message, repeated, tag = "4")]
    enum_type: Vec<EnumNames>,
    #[prost(message, repeated, tag = "6")]
    extension: Vec<FieldNames>,
    #[prost(message, repeated, tag = "8")]
    oneof_decl: Vec<Named>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldNames {
    #[prost(string, tag = "1")]
    name: String,
    /// The full name of the message that an extension extends, after a dot.
    #[prost(string, tag = "2")]
    extendee: String,
    #[prost(int32, tag = "3")]
    number: i32,
}

#[derive(Clone, PartialEq, Message)]
struct EnumNames {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    value: Vec<Named>,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceNames {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<Named>,
}

#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

impl Files {
    /// Reads encoded `FileDescriptorSet`s. A set or a file that cannot be read is left out; of two files of one name the first counts.
    pub(super) fn new(sets: impl Iterator<Item = &'static [u8]>) -> Self {
        let mut files = Self::default();
        for set in sets {
            for bytes in FileSet::decode(Bytes::from_static(set)).unwrap_or_default().file {
                if let Ok(names) = FileNames::decode(bytes.clone()) {
                    files.add(bytes, names);
                }
            }
        }
        files
    }

    fn add(&mut self, bytes: Bytes, names: FileNames) {
        if self.names.contains_key(&names.name) {
            return;
        }
        let place = self.files.len();
        self.files.push(File { bytes, dependencies: names.dependency });
        self.names.insert(names.name, place);
        let package = names.package;
        for message in names.message_type {
            self.add_message(&package, message, place);
        }
        for one in names.enum_type {
            self.add_enum(&package, one, place);
        }
        for service in names.service {
            let name = self.add_symbol(&package, &service.name, place);
            for method in service.method {
                self.add_symbol(&name, &method.name, place);
            }
        }
        for extension in names.extension {
            self.add_extension(&package, extension, place);
        }
    }

    fn add_message(&mut self, scope: &str, message: MessageNames, place: usize) {
        let name = self.add_symbol(scope, &message.name, place);
        for part in message.field.iter().map(|field| &field.name).chain(message.oneof_decl.iter().map(|one| &one.name))
        {
            self.add_symbol(&name, part, place);
        }
        for nested in message.nested_type {
            self.add_message(&name, nested, place);
        }
        for one in message.enum_type {
            self.add_enum(&name, one, place);
        }
        for extension in message.extension {
            self.add_extension(&name, extension, place);
        }
    }

    /// Adds an enum. Its values are in the scope of the enum itself, as in C++.
    fn add_enum(&mut self, scope: &str, one: EnumNames, place: usize) {
        self.add_symbol(scope, &one.name, place);
        for value in one.value {
            self.add_symbol(scope, &value.name, place);
        }
    }

    fn add_extension(&mut self, scope: &str, extension: FieldNames, place: usize) {
        self.add_symbol(scope, &extension.name, place);
        let extended = extension.extendee.trim_start_matches('.').to_owned();
        self.extensions.insert((extended, extension.number), place);
    }

    /// Adds what is called `name` in `scope`, and returns its full name.
    fn add_symbol(&mut self, scope: &str, name: &str, place: usize) -> String {
        let full = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        self.symbols.entry(full.clone()).or_insert(place);
        full
    }

    /// Returns the file of this name and those that it depends on.
    pub(super) fn by_name(&self, name: &str) -> Option<Vec<Bytes>> {
        self.names.get(name).map(|place| self.with_dependencies(*place))
    }

    /// Returns the file that defines `symbol`, and those that it depends on.
    pub(super) fn with_symbol(&self, symbol: &str) -> Option<Vec<Bytes>> {
        self.symbols.get(symbol).map(|place| self.with_dependencies(*place))
    }

    /// Returns the file that defines the extension `number` of `message`, and those that it depends on.
    pub(super) fn with_extension(&self, message: &str, number: i32) -> Option<Vec<Bytes>> {
        self.extensions.get(&(message.to_owned(), number)).map(|place| self.with_dependencies(*place))
    }

    /// Returns the numbers of the extensions of `message`; `None` if there is no such message.
    pub(super) fn extensions_of(&self, message: &str) -> Option<Vec<i32>> {
        let first = (message.to_owned(), i32::MIN);
        let numbers = self.extensions.range(first..).take_while(|((extended, _), _)| extended == message);
        let numbers: Vec<_> = numbers.map(|((_, number), _)| *number).collect();
        (!numbers.is_empty() || self.symbols.contains_key(message)).then_some(numbers)
    }

    /// Returns a file, then all that it depends on, each once.
    fn with_dependencies(&self, place: usize) -> Vec<Bytes> {
        let mut places = vec![place];
        let mut next = 0;
        while let Some(place) = places.get(next).copied() {
            next += 1;
            let dependencies = self.files[place].dependencies.iter().filter_map(|name| self.names.get(name));
            for dependency in dependencies {
                if !places.contains(dependency) {
                    places.push(*dependency);
                }
            }
        }
        places.into_iter().map(|place| self.files[place].bytes.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, extendee: &str, number: i32) -> FieldNames {
        FieldNames { name: name.to_owned(), extendee: extendee.to_owned(), number }
    }

    fn named(name: &str) -> Named {
        Named { name: name.to_owned() }
    }

    /// Two files, of which the second depends on the first and extends its message, and a file that names itself as a dependency.
    fn files() -> Files {
        let base = FileNames {
            name: "base.proto".to_owned(),
            package: "a.b".to_owned(),
            message_type: vec![MessageNames {
                name: "Outer".to_owned(),
                nested_type: vec![MessageNames { name: "Inner".to_owned(), ..MessageNames::default() }],
                enum_type: vec![EnumNames { name: "Kind".to_owned(), value: vec![named("ONE")] }],
                oneof_decl: vec![named("choice")],
                ..MessageNames::default()
            }],
            ..FileNames::default()
        };
        let more = FileNames {
            name: "more.proto".to_owned(),
            dependency: vec!["base.proto".to_owned(), "absent.proto".to_owned()],
            extension: vec![field("nine", ".a.b.Outer", 9), field("two", ".a.b.Outer", 2)],
            ..FileNames::default()
        };
        let circle = FileNames {
            name: "circle.proto".to_owned(),
            dependency: vec!["circle.proto".to_owned()],
            ..FileNames::default()
        };
        let mut files = Files::default();
        for names in [base, more, circle] {
            files.add(names.encode_to_vec().into(), names);
        }
        files
    }

    #[test]
    fn several_sets_are_read_and_damaged_ones_left_out() {
        let file = |name: &str, message: &str| {
            let message_type = vec![MessageNames { name: message.to_owned(), ..MessageNames::default() }];
            let names = FileNames { name: name.to_owned(), message_type, ..FileNames::default() };
            Bytes::from(names.encode_to_vec())
        };
        let set = |file: Vec<Bytes>| -> &'static [u8] { FileSet { file }.encode_to_vec().leak() };
        let damaged = Bytes::from_static(b"\x0a\xff");
        let sets =
            [set(vec![file("a.proto", "A"), damaged]), b"\xff", set(vec![file("b.proto", "B"), file("a.proto", "C")])];
        let files = Files::new(sets.into_iter());
        assert_eq!(files.with_symbol("A"), files.by_name("a.proto"));
        assert_eq!(files.with_symbol("B"), Some(vec![file("b.proto", "B")]));
        assert_eq!(files.with_symbol("C"), None);
    }

    #[test]
    fn symbols_are_found_in_their_scopes() {
        let files = files();
        for symbol in ["a.b.Outer", "a.b.Outer.Inner", "a.b.Outer.Kind", "a.b.Outer.ONE", "a.b.Outer.choice"] {
            assert_eq!(files.with_symbol(symbol).map(|files| files.len()), Some(1), "{symbol}");
        }
        assert_eq!(files.with_symbol("nine"), files.by_name("more.proto"));
        assert!(files.with_symbol("Outer").is_none() && files.with_symbol("").is_none());
    }

    #[test]
    fn a_file_comes_with_what_it_depends_on() {
        let files = files();
        let [more, base] = ["more.proto", "base.proto"].map(|name| files.by_name(name).unwrap());
        assert_eq!(more[1..], base[..]);
        assert_eq!(files.by_name("circle.proto").unwrap().len(), 1);
    }

    #[test]
    fn extensions_are_found_by_their_message_and_number() {
        let files = files();
        assert_eq!(files.extensions_of("a.b.Outer"), Some(vec![2, 9]));
        assert_eq!(files.extensions_of("a.b.Outer.Inner"), Some(Vec::new()));
        assert_eq!(files.extensions_of("a.b.Other"), None);
        assert_eq!(files.with_extension("a.b.Outer", 9), files.by_name("more.proto"));
        assert!(files.with_extension("a.b.Outer", 3).is_none());
    }
}
