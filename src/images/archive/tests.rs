//! Archives that engines write, archives that nobody should write, and what becomes of them.

use proptest::prelude::*;

use super::*;

const CONFIG: &str = r#"{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[LAYERS]}}"#;

fn digest(content: &[u8]) -> Digest {
    Digest::of(content)
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let layers: Vec<_> = layers.iter().map(|layer| format!("\"{}\"", digest(layer))).collect();
    CONFIG.replace("LAYERS", &layers.join(",")).into_bytes()
}

fn shipment(layers: &[&[u8]], keep: &[usize]) -> Shipment {
    let layer = |(index, layer): (usize, &&[u8])| {
        let fate = if keep.contains(&index) { Fate::Keep } else { Fate::Send };
        (Layer { content: digest(layer), blob: None }, fate)
    };
    Shipment {
        config: digest(&config(layers)),
        layers: layers.iter().enumerate().map(layer).collect(),
        size: layers.iter().map(|layer| layer.len() as u64).sum(),
        tells_sizes: true,
    }
}

/// An archive of the given entries: paths that nobody has looked at, and contents.
fn archive(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(content);
        pad(&mut archive, content.len() as u64).expect("memory");
    }
    archive.extend_from_slice(&[0; 2 * BLOCK]);
    archive
}

use tar::EntryType::{Directory, Link, Regular, Symlink};

fn saved_by_docker(layers: &[&[u8]]) -> Vec<u8> {
    let config = config(layers);
    let mut entries: Vec<_> = layers.iter().map(|layer| (manifest::path(&digest(layer)), *layer)).collect();
    entries.push((manifest::path(&digest(&config)), &config));
    entries.sort();
    let mut all = vec![("blobs/", Directory, &[][..]), ("blobs/sha256/", Directory, &[])];
    all.extend(entries.iter().map(|(path, content)| (path.as_str(), Regular, *content)));
    all.extend([
        ("index.json", Regular, &b"{}"[..]),
        ("manifest.json", Regular, b"[]"),
        ("oci-layout", Regular, b"{}"),
    ]);
    archive(&all)
}

fn saved_by_podman(layers: &[&[u8]]) -> Vec<u8> {
    let config = config(layers);
    let mut paths: Vec<_> = layers.iter().map(|layer| (format!("{}.tar", digest(layer).hex()), *layer)).collect();
    paths.push((format!("{}.json", digest(&config).hex()), &config));
    let link = format!("{}/layer.tar", digest(b"id").hex());
    let mut all: Vec<_> = paths.iter().map(|(path, content)| (path.as_str(), Regular, *content)).collect();
    all.extend([
        (link.as_str(), Symlink, &[][..]),
        ("manifest.json", Regular, b"[]"),
        ("repositories", Regular, b"{}"),
    ]);
    archive(&all)
}

#[test]
fn no_more_is_read_than_it_takes() {
    let layers: [&[u8]; 3] = [b"lowest", b"middle", b"top"];
    let shipment = |keep| Shipment { tells_sizes: false, ..shipment(&layers, keep) };
    // The configuration comes first, which is enough if all layers are kept; what comes next is no archive.
    let config = config(&layers);
    let path = manifest::path(&digest(&config));
    let mut saved = archive(&[(path.as_str(), Regular, &config)]);
    saved.truncate(saved.len() - 2 * BLOCK);
    saved.extend([b'?'; BLOCK]);
    let (packed, entries) = run(&saved, &shipment(&[0, 1, 2])).expect("an archive");
    assert_eq!((packed.written, packed.left_out), (0, 15));
    assert!(entries.iter().any(|(_, content)| *content == config), "{entries:?}");
    assert!(run(&saved, &shipment(&[0, 1])).is_err());
    let (packed, _) = run(&saved_by_docker(&layers), &shipment(&[0, 1])).expect("an archive");
    assert_eq!((packed.written, packed.left_out), (3, 12));
}

type Entries = Vec<(String, Vec<u8>)>;

/// The entries of an archive.
fn entries(archive: &[u8]) -> Entries {
    let mut archive = tar::Archive::new(archive);
    let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.expect("readable");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("whole");
        (entry.path().expect("a path").to_str().expect("text").to_owned(), content)
    };
    archive.entries().expect("an archive").map(read).collect()
}

fn run(input: &[u8], shipment: &Shipment) -> Result<(Packed, Entries), Error> {
    let mut output = Vec::new();
    let packed = repack(input, &mut output, shipment)?;
    Ok((packed, entries(&output)))
}

#[test]
fn what_is_there_is_left_out_and_still_referred_to() {
    let layers: [&[u8]; 3] = [b"lowest", b"middle", b"top"];
    for saved in [saved_by_docker(&layers), saved_by_podman(&layers)] {
        let (packed, entries) = run(&saved, &shipment(&layers, &[0, 1])).expect("an archive");
        let names: Vec<_> = entries.iter().map(|(name, _)| name.as_str()).collect();
        let content = |digest: &Digest| {
            let path = manifest::path(digest);
            entries.iter().find(|(name, _)| *name == path).map(|(_, content)| content.as_slice())
        };
        assert_eq!(content(&digest(b"top")), Some(&b"top"[..]));
        assert_eq!(content(&digest(&config(&layers))), Some(&config(&layers)[..]));
        assert_eq!((content(&digest(b"lowest")), content(&digest(b"middle"))), (None, None));
        assert!(["oci-layout", "index.json", "manifest.json"].iter().all(|name| names.contains(name)), "{names:?}");
        assert_eq!((packed.written, packed.left_out), (3, 12));
        let json = content(&packed.manifest).expect("the manifest");
        let Some(manifest::Document::Manifest(manifest)) = manifest::Document::read(json) else {
            panic!("no manifest")
        };
        let referred: Vec<_> = manifest.layers.iter().map(|layer| (layer.digest.clone(), layer.size)).collect();
        assert_eq!(referred, layers.map(|layer| (digest(layer), layer.len() as u64)));
        assert_eq!(packed.content[..3], referred);
    }
}

#[test]
fn one_layer_twice_is_sent_once() {
    let layers: [&[u8]; 2] = [b"same", b"same"];
    let (packed, entries) = run(&saved_by_docker(&layers), &shipment(&layers, &[])).expect("an archive");
    let path = manifest::path(&digest(b"same"));
    assert_eq!(entries.iter().filter(|(name, _)| *name == path).count(), 1);
    assert_eq!((packed.written, packed.left_out), (4, 0));
    // One below something that is there, and again on top of it, where a chain is not.
    let (packed, entries) = run(&saved_by_docker(&layers), &shipment(&layers, &[0])).expect("an archive");
    assert_eq!(entries.iter().filter(|(name, _)| *name == path).count(), 1);
    assert_eq!(packed.written, 4);
}

#[test]
fn hostile_archives_are_refused() {
    let layers: [&[u8]; 1] = [b"layer"];
    let wanted = shipment(&layers, &[]);
    let hex = digest(b"layer").hex().to_owned();
    let blob = format!("blobs/sha256/{hex}");
    let path_of_config = manifest::path(&wanted.config);
    let up = format!("../{hex}.tar");
    let deep = format!("blobs/sha256/../../{hex}");
    let absolute = format!("/blobs/sha256/{hex}");
    for (path, kind, content) in [
        (absolute.as_str(), Regular, &b"layer"[..]),
        (up.as_str(), Regular, b"layer"),
        (deep.as_str(), Regular, b"layer"),
        (blob.as_str(), Symlink, b""),
        (blob.as_str(), Link, b""),
        (blob.as_str(), tar::EntryType::Block, b""),
        (blob.as_str(), tar::EntryType::Char, b""),
        (blob.as_str(), tar::EntryType::Fifo, b""),
        ("index.json", Symlink, b""),
        ("etc/passwd", Regular, b"root"),
        ("blobs/sha256/short", Regular, b"x"),
        ("blobs/sha512/x", Directory, b""),
        (path_of_config.as_str(), Regular, b"another configuration"),
    ] {
        let error = run(&archive(&[(path, kind, content)]), &wanted).expect_err(path);
        assert!(matches!(error, Error::Hostile(_)), "{path}: {error}");
    }
    let many: Vec<_> = (0..=MOST_ENTRIES).map(|_| ("index.json", Regular, &b""[..])).collect();
    assert!(matches!(run(&archive(&many), &wanted), Err(Error::Hostile(_))));
}

#[test]
fn endless_heads_are_refused_while_they_are_read() {
    let wanted = shipment(&[b"layer"], &[]);
    let head = |kind: u8, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    // A list of holes that goes on and on.
    let mut sparse = head(b'S', 0);
    sparse[482] = 1;
    let mut header = tar::Header::from_byte_slice(&sparse).clone();
    header.set_cksum();
    let (mut hole, mut holes) = ([0; BLOCK], header.as_bytes().to_vec());
    hole[504] = 1;
    holes.extend(hole.repeat(1000));
    for head in [head(b'L', 1 << 40), head(b'K', 1 << 40), head(b'x', 1 << 40), holes] {
        let read = std::cell::Cell::new(0_u64);
        let input = head.chain(io::repeat(b'x'));
        let error = repack(Counted(input, &read), &mut Vec::new(), &wanted).expect_err("too much");
        assert!(matches!(error, Error::Hostile(_)), "{error}");
        assert!(read.get() <= LARGEST_HEAD, "{}", read.get());
    }
}

/// Counts what is read.
struct Counted<'a, R>(R, &'a std::cell::Cell<u64>);

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.set(self.1.get() + read as u64);
        Ok(read)
    }
}

#[test]
fn sizes_may_stand_in_extended_headers() {
    // As Docker does it with layers of more than 8 GiB, whose size has no room in a header.
    let layers: [&[u8]; 1] = [&[7; 10_000]];
    let wanted = shipment(&layers, &[]);
    let config = config(&layers);
    let path = manifest::path(&digest(layers[0]));
    let mut saved = archive(&[("x", tar::EntryType::XHeader, b"14 size=10000\n"), (&path, Regular, b"")]);
    saved.truncate(saved.len() - 2 * BLOCK);
    saved.extend(layers[0]);
    pad(&mut saved, layers[0].len() as u64).expect("memory");
    saved.extend(archive(&[(&manifest::path(&digest(&config)), Regular, &config)]));
    let (packed, entries) = run(&saved, &wanted).expect("an archive");
    assert_eq!(packed.written, 10_000);
    assert!(entries.contains(&(path, layers[0].to_vec())));
}

#[test]
fn a_configuration_with_other_layers_is_refused() {
    let saved = saved_by_docker(&[b"a", b"b"]);
    let mut wanted = shipment(&[b"a", b"b"], &[]);
    wanted.layers.pop();
    let error = run(&saved, &wanted).expect_err("another number of layers");
    assert!(matches!(error, Error::Hostile(_)), "{error}");
}

#[test]
fn what_lacks_something_is_told_from_what_is_hostile() {
    let layers: [&[u8]; 2] = [b"a", b"b"];
    let old = format!("{}/layer.tar", digest(b"a").hex());
    let old = archive(&[(old.as_str(), Regular, b"a"), ("manifest.json", Regular, b"[]")]);
    assert!(matches!(run(&old, &shipment(&layers, &[])), Err(Error::Lacks(_))));
    let config = config(&layers);
    let path = manifest::path(&digest(&config));
    let bare = archive(&[(path.as_str(), Regular, &config)]);
    for keep in [&[][..], &[0], &[0, 1]] {
        assert!(matches!(run(&bare, &shipment(&layers, keep)), Err(Error::Lacks(_))));
    }
}

#[test]
fn content_that_comes_piece_by_piece_is_packed_in_sizes() {
    let target = Descriptor { media_type: MANIFEST.to_owned(), digest: digest(b"{}"), size: 2 };
    let pieces = [(digest(b"one"), 3), (digest(b"three"), 5)];
    let mut output = Vec::new();
    pack(&b"onethree"[..], &mut output, &pieces, &[b"{}".to_vec()], &target, &digest(b"c"), &[]).expect("packed");
    let entries = entries(&output);
    assert_eq!(entries[0], (manifest::path(&pieces[0].0), b"one".to_vec()));
    assert_eq!(entries[1], (manifest::path(&pieces[1].0), b"three".to_vec()));
    assert_eq!(entries[2], (manifest::path(&digest(b"{}")), b"{}".to_vec()));
    let short = pack(&b"onethr"[..], &mut Vec::new(), &pieces, &[], &target, &digest(b"c"), &[]);
    assert!(matches!(short, Err(Error::Io(_))));
}

proptest! {
    /// Wherever an archive is cut, it is no archive any more, unless only its end is missing.
    #[test]
    fn cut_archives_are_noticed(at in 0usize..10_000, keep in proptest::collection::vec(0usize..3, 0..3)) {
        let layers: [&[u8]; 3] = [&[1; 700], &[2; 1500], &[3; 10]];
        for saved in [saved_by_docker(&layers), saved_by_podman(&layers)] {
            let wanted = shipment(&layers, &keep);
            let whole = run(&saved, &wanted).expect("whole");
            match run(&saved[..at.min(saved.len())], &wanted) {
                Ok(cut) => prop_assert_eq!(cut, whole),
                Err(Error::Hostile(what)) => prop_assert!(false, "{}", what),
                Err(Error::Io(_) | Error::Lacks(_)) => {}
            }
        }
    }

    /// Nothing that an engine may send does any harm.
    #[test]
    fn noise_does_no_harm(noise: Vec<u8>, offset in 0usize..4096, value: u8) {
        let layers: [&[u8]; 2] = [b"a", b"b"];
        let wanted = shipment(&layers, &[0]);
        let _ = run(&noise, &wanted);
        let mut saved = saved_by_docker(&layers);
        let length = saved.len();
        saved[offset % length] = value;
        if let Ok((packed, entries)) = run(&saved, &wanted) {
            prop_assert_eq!(packed.written, 1);
            prop_assert!(entries.iter().all(|(path, _)| !path.contains("..") && !path.starts_with('/')));
        }
    }
}
