//! Strangers who take all the places there are.

use std::time::Duration;

use dewdrop_kube::serve::Limits;
use tokio::time::timeout;

use super::fake::{Webhook, pod, question};

/// Each of them holds its connection for as long as it may, which is minutes; nobody waits for that.
#[tokio::test]
async fn the_api_server_gets_through_a_crowd() {
    let limits = Limits { connections: 16, of_one: 8, room: 16 << 20 };
    let webhook = Webhook::start_with(&[], limits).await;
    let health = webhook.url("/healthz");
    let through = timeout(Duration::from_secs(60), async {
        let mut crowd = Vec::new();
        for n in 0..64 {
            let stranger = webhook.client_at([127, 0, 0, 2 + n % 4]);
            assert_eq!(stranger.get(&health).send().await.unwrap().status(), 200);
            crowd.push(stranger);
            if n % 16 == 0 {
                webhook.ask("/validate", &question("CREATE", "", &pod())).await;
            }
        }
        let anew = webhook.client_at([127, 0, 0, 1]);
        assert_eq!(anew.get(&health).send().await.unwrap().status(), 200);
    });
    through.await.expect("nobody waits for a place");
}
