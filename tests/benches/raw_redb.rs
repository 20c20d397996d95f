//! The ceiling of durable writes: redb alone, writing values of the same size under keys of the
//! same length, in groups of the same size, with the same commit settings.

use std::path::Path;
use std::time::Instant;

use redb::Database;
use redb::TableDefinition;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
// What Baton stores for 2 KB of data: seal, header and row are 250 bytes.
const VALUE: usize = 2048 + 250;

pub fn write(folder: &str, writes: &str, group: &str) {
    let (writes, group): (u64, u64) = (writes.parse().unwrap(), group.parse().unwrap());
    let file = Path::new(folder).join("raw.redb");
    let _ = std::fs::remove_file(&file);
    let database = Database::builder().set_cache_size(64 << 20).create(&file).unwrap();
    let value = vec![0x5a; VALUE];
    let started = Instant::now();
    let mut written = 0;
    while written < writes {
        let mut transaction = database.begin_write().unwrap();
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(TABLE).unwrap();
            for _ in 0..group {
                // As wrk's script makes them: SIDs in no order.
                let sid = written.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let key = format!("h\0default\0CA{sid:016x}{written:016x}");
                table.insert(key.as_bytes(), value.as_slice()).unwrap();
                written += 1;
            }
        }
        transaction.commit().unwrap();
    }
    println!("{:.0}", written as f64 / started.elapsed().as_secs_f64());
}
