//! Which cases of a sweep are tried. A few by default; `KEREK_CHAOS` says otherwise: a number of them, evenly spread; `all`;
//! or `2/5`, the second of five parts that together are all.

/// What of all the cases there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Extent {
    Sample(usize),
    All,
    /// Each case of so many, from this one on, which is counted from 0.
    Part {
        first: usize,
        of: usize,
    },
}

impl Extent {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            None if text == "all" => Some(Self::All),
            None => text.parse().ok().map(Self::Sample),
            Some((part, of)) => {
                let (part, of) = (part.parse::<usize>().ok()?, of.parse().ok()?);
                (1..=of).contains(&part).then(|| Self::Part { first: part - 1, of })
            }
        }
    }
}

/// Each kind of fault at each of so many points, the first of which is 1; or those that are to be tried, by default a sample
/// of so many.
pub(crate) fn cases<T: Copy>(kinds: &[T], points: usize, default: usize) -> Vec<(T, usize)> {
    let extent = match std::env::var("KEREK_CHAOS").as_deref() {
        Err(_) | Ok("") => Extent::Sample(default),
        Ok(text) => Extent::parse(text)
            .unwrap_or_else(|| panic!("KEREK_CHAOS is \"all\", a number, or a part such as \"2/5\": {text}")),
    };
    chosen(kinds, points, extent)
}

/// The same, for an extent.
pub(crate) fn chosen<T: Copy>(kinds: &[T], points: usize, extent: Extent) -> Vec<(T, usize)> {
    let all = (1..=points).flat_map(|point| kinds.iter().map(move |kind| (*kind, point)));
    match extent {
        // Kinds take turns, and points are spread evenly.
        Extent::Sample(size) if size < kinds.len() * points => {
            (0..size).map(|index| (kinds[index % kinds.len()], (2 * index + 1) * points / (2 * size) + 1)).collect()
        }
        Extent::Sample(_) | Extent::All => all.collect(),
        Extent::Part { first, of } => all.skip(first).step_by(of).collect(),
    }
}

/// For `--nocapture`: what comes of a sweep, while it goes on.
#[expect(clippy::print_stdout, reason = "the outcome of a test")]
pub(crate) fn tell(line: &str) {
    // On a line of its own, whatever the test harness has begun to say.
    println!("\n{line}");
}
