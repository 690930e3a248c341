//! JSON objects, read entry by entry as they are written.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

/// The entries of a JSON object in their order, including duplicates.
///
/// A map would keep only the last of two entries with the same name. But a proxy in front of this
/// function may have checked only the first of the two. So both entries are kept.
pub(crate) struct Entries<V>(pub(crate) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

impl<'a> Entries<&'a RawValue> {
    /// The value of a name, unless it is absent, null or given more than once.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let mut values = self.0.iter().filter(|(given, _)| given == name);
        let (_, value) = values.next().filter(|(_, value)| value.get() != "null")?;
        values.next().is_none().then_some(*value)
    }
}

/// Reads a raw value as a `T`. Returns `None` if the value is absent or is no `T`.
pub(crate) fn read<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// Reads a raw object as a `T`. Unlike [`read`], it does not take an array for a struct.
pub(crate) fn read_object<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    read(raw.filter(|raw| raw.get().starts_with('{')))
}
