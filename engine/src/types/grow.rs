/// A count of what was seen, which stops at the greatest number instead of going beyond it, and at zero.
///
/// In most places a count cannot get there. But some add up what an input says, and a count that is too
/// small does less harm than a thread that ends.
pub trait Grow {
    /// Adds so many.
    fn grow(&mut self, more: Self);

    /// Takes so many away.
    fn shrink(&mut self, fewer: Self);
}

macro_rules! grow {
    ($($number:ty),*) => {$(
        impl Grow for $number {
            #[inline]
            fn grow(&mut self, more: Self) {
                *self = self.saturating_add(more);
            }

            #[inline]
            fn shrink(&mut self, fewer: Self) {
                *self = self.saturating_sub(fewer);
            }
        }
    )*};
}

grow!(u32, u64, usize);
