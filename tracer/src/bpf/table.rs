//! A kernel hash map with typed keys and values.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};

use aya::maps::{HashMap, Map, MapError};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::batch::Cursor;

/// `K` of `KEY` bytes to `V` of `VALUE` bytes; the sizes are checked against the map.
pub(super) struct Table<K, V, const KEY: usize, const VALUE: usize> {
    map: Map,
    fd: OwnedFd,
    types: PhantomData<(K, V)>,
}

impl<K, V, const KEY: usize, const VALUE: usize> Table<K, V, KEY, VALUE>
where
    K: FromBytes + IntoBytes + Immutable,
    V: FromBytes,
{
    pub(super) fn new(map: Map) -> Result<Self, MapError> {
        const { assert!(size_of::<K>() == KEY && size_of::<V>() == VALUE) };
        HashMap::<_, [u8; KEY], [u8; VALUE]>::try_from(&map)?;
        let Map::HashMap(data) = &map else {
            return Err(MapError::InvalidName {
                name: "not a plain hash map".to_owned(),
            });
        };
        let fd = data.fd().as_fd().try_clone_to_owned()?;
        Ok(Self {
            map,
            fd,
            types: PhantomData,
        })
    }

    /// The value of `key`, if there is one.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        let view = HashMap::<_, [u8; KEY], [u8; VALUE]>::try_from(&self.map).ok()?;
        let value = view.get(&bytes_of(key)?, 0).ok()?;
        V::read_from_bytes(&value).ok()
    }

    /// Puts `value` there, in the place of any other.
    pub(super) fn insert(&mut self, key: &K, value: &V) -> Result<(), MapError>
    where
        V: IntoBytes + Immutable,
    {
        let mut view = HashMap::<_, [u8; KEY], [u8; VALUE]>::try_from(&mut self.map)?;
        match (bytes_of(key), bytes_of(value)) {
            (Some(key), Some(value)) => view.insert(key, value, 0),
            // The sizes are checked above.
            _ => Ok(()),
        }
    }

    /// Removes `key`; that it is gone already is no error.
    pub(super) fn remove(&mut self, key: &K) {
        if let (Ok(mut view), Some(key)) = (
            HashMap::<_, [u8; KEY], [u8; VALUE]>::try_from(&mut self.map),
            bytes_of(key),
        ) {
            let _ = view.remove(&key);
        }
    }

    /// Hands over the next entries from `cursor` on; returns whether more may follow.
    pub(super) fn next(
        &self,
        cursor: &mut Cursor<K, V>,
        each: impl FnMut(K, V),
    ) -> io::Result<bool> {
        cursor.next(self.fd.as_fd(), false, each)
    }

    /// Takes out the next entries, likewise.
    pub(super) fn take_next(
        &self,
        cursor: &mut Cursor<K, V>,
        each: impl FnMut(K, V),
    ) -> io::Result<bool> {
        cursor.next(self.fd.as_fd(), true, each)
    }
}

fn bytes_of<K: IntoBytes + Immutable, const N: usize>(key: &K) -> Option<[u8; N]> {
    key.as_bytes().try_into().ok()
}
