//! Who a container runs as, and what is refused.

use super::*;

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
    web:x:33:33::/:/bin/false\n\
    1000:x:0:0:digits for a name:/:\n\
    4294967296:x:0:0::/:\n\
    wraps:x:4294967296:0::/:\n\
    minus:x:-1:0::/:\n\
    \xff\xfe:x:7:7::/:\n\
    # comment:x:8:8::/:\n\
    short:x:9\n\
    +::::::\n\
    dos:x:77:78::/:\r\n\
    web:x:99:99:second:/:\n";
const GROUP: &[u8] = b"root:x:0:\n\
    web:x:33:web,other\n\
    log:x:4:web,root\n\
    ssl:x:5:web\n\
    huge:x:4294967295:web\n\
    log:x:6:nobody\n";

fn db() -> Users {
    Users::parse(PASSWD, GROUP)
}

fn image(user: &str) -> Result<(u32, u32, Vec<u32>), UserError> {
    wanted(&Wanted::default(), user)
}

fn wanted(wanted: &Wanted, user: &str) -> Result<(u32, u32, Vec<u32>), UserError> {
    resolve(wanted, user, &db()).map(|i| (i.uid, i.gid, i.groups))
}

#[test]
fn the_image_names_user_and_group() {
    assert_eq!(image(""), Ok((0, 0, vec![0, 4])));
    assert_eq!(image("0"), Ok((0, 0, vec![0, 4])));
    assert_eq!(image("web"), Ok((33, 33, vec![4, 5, 33])));
    assert_eq!(image("33"), Ok((33, 33, vec![4, 5, 33])));
    assert_eq!(image("web:log"), Ok((33, 4, vec![4, 5])));
    assert_eq!(image("33:7"), Ok((33, 7, vec![4, 5, 7])));
    assert_eq!(image("5000"), Ok((5000, 0, vec![0])));
    assert_eq!(image("5000:6000"), Ok((5000, 6000, vec![6000])));
    assert_eq!(image("5000:ssl"), Ok((5000, 5, vec![5])));
    assert_eq!(image("dos"), Ok((77, 78, vec![78])));
}

#[test]
fn c13_numbers_that_overflow_and_junk_are_refused() {
    for user in [
        "4294967296",
        "2147483648",
        "-1",
        "+5",
        "-0",
        "18446744073709551616",
        "5:-1",
        "5:2147483648",
    ] {
        assert!(
            matches!(image(user), Err(UserError::OutOfRange(_))),
            "{user}"
        );
    }
    for user in [":", ":5", "5:", "a:b:c", "5:6:7", "-", "web:"] {
        assert!(
            matches!(image(user), Err(UserError::Malformed(_))),
            "{user}"
        );
    }
    for user in [
        "nobody", " 5", "5 ", "1e3", "0x0", "wraps", "minus", "short", "٣",
    ] {
        assert!(
            matches!(image(user), Err(UserError::UnknownUser(_))),
            "{user}"
        );
    }
    assert!(matches!(
        image("5:nogroup"),
        Err(UserError::UnknownGroup(_))
    ));
    // The number, not the user of that name, who is root.
    assert_eq!(image("1000"), Ok((1000, 0, vec![0])));
    let max = Wanted {
        user: Some(u32::MAX),
        ..Wanted::default()
    };
    assert!(matches!(wanted(&max, ""), Err(UserError::OutOfRange(_))));
    let max = Wanted {
        supplemental_groups: &[1, u32::MAX],
        ..Wanted::default()
    };
    assert!(matches!(wanted(&max, ""), Err(UserError::OutOfRange(_))));
}

#[test]
fn c14_files_that_cannot_be_read_matter_unless_numbers_are_given() {
    let users = Users {
        problem: Some("/etc/passwd of the image is not a regular file".into()),
        ..Users::default()
    };
    let numbers = |image: &str, group: Option<u32>| {
        let wanted = Wanted {
            group,
            ..Wanted::default()
        };
        resolve(&wanted, image, &users).map(|i| (i.uid, i.gid, i.groups))
    };
    for image in ["", "web", "7", "7:log", "web:8"] {
        let error = numbers(image, None).unwrap_err();
        assert!(matches!(error, UserError::Unreadable(_)), "{image}");
    }
    assert_eq!(numbers("7:8", None), Ok((7, 8, vec![8])));
    assert_eq!(numbers("7", Some(9)), Ok((7, 9, vec![9])));
}

#[test]
fn the_home_directory_comes_from_passwd() {
    let home = |user: &str| resolve(&Wanted::default(), user, &db()).map(|i| i.home);
    assert_eq!(home("root").as_deref(), Ok("/root"));
    assert_eq!(home("5000").as_deref(), Ok("/"));
    let relative = Users::parse(b"a:x:1:1::x/y:\nb:x:2:2", b"");
    for user in ["a", "b"] {
        assert_eq!(
            resolve(&Wanted::default(), user, &relative)
                .map(|i| i.home)
                .as_deref(),
            Ok("/")
        );
    }
}

#[test]
fn the_pod_comes_before_the_image() {
    let user = Wanted {
        user: Some(33),
        ..Wanted::default()
    };
    assert_eq!(wanted(&user, "5000:6000"), Ok((33, 33, vec![4, 5, 33])));
    assert_eq!(wanted(&user, "not:a:user"), Ok((33, 33, vec![4, 5, 33])));
    let group = Wanted {
        group: Some(9),
        ..Wanted::default()
    };
    assert_eq!(wanted(&group, "web:ssl"), Ok((33, 9, vec![4, 5, 9])));
    assert_eq!(wanted(&group, ""), Ok((0, 9, vec![4, 9])));
}

#[test]
fn c20_groups_are_exactly_those_asked_for() {
    let both = Wanted {
        fs_group: Some(2000),
        supplemental_groups: &[3000, 4, 3000],
        ..Wanted::default()
    };
    assert_eq!(
        wanted(&both, "web"),
        Ok((33, 33, vec![4, 5, 33, 2000, 3000]))
    );
    let strict = Wanted {
        strict: true,
        ..both
    };
    assert_eq!(
        wanted(&strict, "web"),
        Ok((33, 33, vec![4, 33, 2000, 3000]))
    );
}
