use super::*;

#[test]
fn the_same_text_is_news_once_until_there_is_another() {
    let said = Said::default();
    let news = ["reset", "reset", "refused", "refused", "reset"].map(|text| said.is_news(text));
    assert_eq!(news, [true, false, true, false, true]);
}
