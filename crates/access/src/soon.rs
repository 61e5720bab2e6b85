//! For tests that wait for another task.

use std::time::Duration;

/// Waits until it is so. The time of these tests is their own, which runs ahead when all wait.
pub async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..5000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain");
}
