//! A broker that allows few channels per connection, and more models and paused jobs than that.

use rollcall_tests::{Fleet, SCORER, eventually};

#[test]
fn twelve_models_with_paused_and_resumed_jobs_are_counted_on_connections_of_ten_channels() {
    let fleet = Fleet::fresh();
    let few = fleet.clone().at(&format!("{}?channel_max=10", fleet.url()));
    let aggregator = few.aggregator(&[]);
    let rows: String = (0..5).map(|index| format!("c{index},\n")).collect();
    let file = fleet.file("c.csv", format!("company_id,do\n{rows}"));
    let models: Vec<String> = (0..12).map(|number| format!("m{number}")).collect();
    for model in &models {
        fleet.enqueue(&file, model, model, &[]).expect(0);
    }
    for model in &models {
        fleet.producer(&["pause", model]).expect(0);
    }
    // A consumer moves the paused companies to their queue.
    for model in &models[..3] {
        let _consumer = few.consumer(model, SCORER, &["--threads", "1"]);
        let queue = fleet.name(&format!("paused.{model}"));
        eventually("its companies are set aside", || (fleet.waiting_in(&queue) == Some(5)).then_some(()));
    }
    for model in &models {
        fleet.producer(&["resume", model]).expect(0);
        let queue = fleet.name(&format!("paused.{model}"));
        eventually("its companies go back", || (fleet.waiting_in(&queue) == Some(0)).then_some(()));
        let dead = fleet.name(&format!("dead.{model}"));
        eventually("its dead letters are answered for", || (consumers_of(&fleet, &dead) == 1).then_some(()));
    }
    let _consumers: Vec<_> = [0, 11].map(|number| few.consumer(&models[number], SCORER, &["--threads", "1"])).into();
    for number in [0, 11] {
        fleet.finished(&models[number]).assert_counted_once(5);
    }
    assert_eq!(aggregator.times_event("became_leader"), 1, "it took over from itself: {}", aggregator.stderr());
}

fn consumers_of(fleet: &Fleet, queue: &str) -> u32 {
    use lapin::options::QueueDeclareOptions;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    fleet.on_a_channel(async |channel| {
        channel
            .queue_declare(queue.into(), passive, lapin::types::FieldTable::default())
            .await
            .map_or(0, |queue| queue.consumer_count())
    })
}
