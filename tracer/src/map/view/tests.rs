use super::samples::{NOON, map, uses};
use super::*;

fn shown(filter: &Filter) -> Shown {
    Shown::of(map(), filter)
}

#[test]
fn loopback_and_unspecified_addresses_are_left_out_and_counted() {
    let without = shown(&Filter::default());
    assert_eq!((without.relations.len(), without.loopback_hidden), (7, 2));
    let all = Filter {
        loopback: true,
        ..Filter::default()
    };
    let all = shown(&all);
    assert_eq!((all.relations.len(), all.loopback_hidden), (9, 0));
}

#[test]
fn addresses_are_those_of_the_other_side_by_number() {
    let addresses = shown(&Filter::default()).addresses();
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "9.0.0.1",
            "10.0.0.9",
            "10.0.0.10",
            "192.0.2.1",
            "2001:db8::a"
        ]
    );
}

#[test]
fn a_service_has_each_peer_once_with_all_that_served_it() {
    let services = shown(&Filter::default()).services();
    let summary: Vec<_> = services
        .iter()
        .map(|service| {
            let address = service.address.map(|address| address.to_string());
            (
                address.unwrap_or_default(),
                service.users(),
                service.uses.connections,
            )
        })
        .collect();
    let expected = [
        ("", 1, 0),
        ("10.0.0.5:80", 2, 6),
        ("[2001:db8::5]:80", 1, 4),
        ("10.0.0.9:5432", 2, 6),
    ];
    assert_eq!(summary, expected.map(|(it, a, b)| (it.to_owned(), a, b)));
    let [nine, ten] = &services[1].members[..] else {
        panic!("{services:?}")
    };
    assert_eq!(nine.peer, Some("9.0.0.1".parse().unwrap()));
    assert_eq!(ten.processes, ["apache", "nginx"]);
    let mut expected = uses(3);
    expected += uses(2);
    assert_eq!(ten.uses, expected);
    assert_eq!(services[3].members[1].processes, ["psql"]);
}

#[test]
fn filters_must_all_fit() {
    let number = |filter: Filter| shown(&filter).relations.len();
    let ports = |list: &str| Some(list.parse().unwrap());
    let since = WallTime(NOON.0 + 4 * 60_000_000_000);
    let outbound = Some(Direction::Outbound);
    for (filter, expected) in [
        (
            Filter {
                ports: ports("80"),
                ..Filter::default()
            },
            4,
        ),
        (
            Filter {
                ports: ports("5432"),
                ..Filter::default()
            },
            2,
        ),
        (
            Filter {
                direction: outbound,
                ..Filter::default()
            },
            2,
        ),
        (
            Filter {
                classes: Some("private-use,documentation".parse().unwrap()),
                ..Filter::default()
            },
            6,
        ),
        (
            Filter {
                classes: Some("public".parse().unwrap()),
                loopback: true,
                ..Filter::default()
            },
            1,
        ),
        (
            Filter {
                since: Some(since),
                ..Filter::default()
            },
            2,
        ),
        (
            Filter {
                ports: ports("80"),
                direction: outbound,
                ..Filter::default()
            },
            0,
        ),
    ] {
        assert_eq!(number(filter.clone()), expected, "{filter:?}");
    }
}

#[test]
fn what_is_not_saved_is_added() {
    let mut one = map();
    let (relation, added) = one.relations[0].clone();
    let mut delta = crate::map::delta::Delta::new(10);
    delta.note(relation.clone(), added);
    delta.note(samples::inbound("10.0.0.5:81", "9.0.0.1", "x"), added);
    delta.forgotten.unsaved = 3;
    one.add(&delta);
    assert_eq!(one.relations.len(), map().relations.len() + 1);
    assert_eq!(one.relations[0].1.connections, 6);
    assert_eq!(one.forgotten.unsaved, 3);
}
