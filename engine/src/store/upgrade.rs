use rayon::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

use super::runs::is_run;
use super::sweep::sweeping;
use super::{Batch, Column, RunSums, Store, StoreError, TrunkKey};
use crate::failpoint::reached;
use crate::types::{BlockHeight, ChainId, Grow};

/// Rows that are written together.
const TOGETHER: usize = 4096;

impl Store {
    /// Makes a database of the format before this one into one of this: adds what trunks come to.
    /// Interrupted, it begins anew when the database is opened again.
    ///
    /// # Cost
    ///
    /// One pass over all runs, on all cores.
    ///
    /// # Errors
    ///
    /// [`StoreError`], for example when the disk is full. A run that is damaged is told of, and adds
    /// nothing.
    pub(super) fn add_sums(&mut self) -> Result<(), StoreError> {
        let path = self.directory.named().display().to_string();
        tracing::info!("{path}: adding statistics, once; every block is read for it");
        let chains: Vec<ChainId> = self.version.chain_ids().collect();
        chains.par_iter().try_for_each(|chain| self.add_sums_of(*chain))?;
        let mut batch = Batch::default();
        batch.put_meta(self, self.meta());
        reached("upgrade/write/before");
        self.write(batch)?;
        reached("upgrade/write/after");
        self.sync()?;
        self.has_sums = true;
        tracing::info!("{path}: statistics are there");
        Ok(())
    }

    fn add_sums_of(&self, chain: ChainId) -> Result<(), StoreError> {
        let (mut below, mut batch, mut rows) = (None, Batch::default(), 0);
        let write = |batch: &mut Batch| {
            self.write(std::mem::take(batch))?;
            reached("upgrade/rows/after");
            Ok::<_, StoreError>(())
        };
        for first in self.run_starts(chain)? {
            let sums = match self.run(chain, first) {
                Ok(run) => RunSums::behind(below, &run),
                Err(error) => {
                    tracing::error!("statistics leave out a run: {error}");
                    below.unwrap_or_else(|| RunSums::behind(None, &[]))
                }
            };
            batch.put_sums(self, chain, first, &sums);
            below = Some(sums);
            rows.grow(1);
            if rows % TOGETHER == 0 {
                write(&mut batch)?;
            }
        }
        write(&mut batch)
    }

    /// Where the runs of a chain begin: the lowest one, and all multiples of their length above.
    fn run_starts(
        &self,
        chain: ChainId,
    ) -> Result<impl Iterator<Item = BlockHeight> + use<>, StoreError> {
        let trunk = self.column(Column::Trunk);
        let mut keys = self.db.raw_iterator_cf_opt(trunk, sweeping(None));
        let mut at = |from: BlockHeight, ascending: bool| {
            let key = TrunkKey::new(chain, from);
            if ascending {
                keys.seek(key.as_bytes());
            } else {
                keys.seek_for_prev(key.as_bytes());
            }
            keys.status()?;
            let key = keys.key().and_then(|key| TrunkKey::read_from_bytes(key).ok());
            let key = key.filter(|key| key.chain() == chain);
            Ok::<_, StoreError>(key.map(|key| key.first()))
        };
        let lowest = at(BlockHeight::new(0), true)?;
        let highest = at(BlockHeight::new(u64::MAX), false)?;
        let length = self.run_length;
        let next = move |first: &BlockHeight| Some(length.end(*first));
        let starts = std::iter::successors(lowest, next);
        Ok(starts.take_while(move |first| highest.is_some_and(|highest| *first <= highest)))
    }

    fn run(&self, chain: ChainId, first: BlockHeight) -> Result<Vec<u8>, StoreError> {
        let key = TrunkKey::new(chain, first);
        let run =
            self.db.get_cf_opt(self.column(Column::Trunk), key.as_bytes(), &sweeping(None))?;
        let run = run.filter(|run| is_run(run, chain, first, self.run_length));
        run.ok_or_else(|| StoreError::damaged(Column::Trunk, key.as_bytes()))
    }
}
