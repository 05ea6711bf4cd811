/// How the next value is found after one that has no end.
///
/// Text that people and programs write begins a line with each value, or indents what is within one:
///
/// ```text
/// [
///   { "height": 5, "hash": "AB     ← the line ends within a string
///   },                             ← ends something: passed over
///   {                              ← as far left as what was wrong, and a value may begin here
/// ```
///
/// So it is the next line that is indented no further than what was wrong, and that begins as a value
/// does. With one value a line that is the next line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resync {
    /// How far the line of what is wrong is indented.
    indent: u64,
    /// Whether only white space has come on the present line.
    at_start: bool,
}

impl Resync {
    /// Behind something on a line that is indented so far; `at_start` says whether only white space
    /// comes before on the present line.
    pub(super) const fn new(indent: u64, at_start: bool) -> Self {
        Self { indent, at_start }
    }

    /// Whether the next value may begin with this byte, which is indented so far; in an array, that may
    /// end here, too.
    pub(super) const fn is_found(&mut self, byte: u8, indent: u64, in_array: bool) -> bool {
        match byte {
            b'\n' => self.at_start = true,
            b' ' | b'\t' | b'\r' => {}
            _ if !self.at_start => {}
            _ => {
                self.at_start = false;
                let begins = match byte {
                    b'{' | b'[' | b'"' => true,
                    b']' => in_array,
                    b'}' | b',' => false,
                    _ => !in_array,
                };
                return begins && indent <= self.indent;
            }
        }
        false
    }
}
