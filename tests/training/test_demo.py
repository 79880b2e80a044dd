"""The demo, shortened."""

from training import demo


def test_the_demo_compares_exports_and_draws(quick, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(demo.DECODERS, "dupsampling", {})  # the quick network has stride 16
    steps = ["steps=2", "steps_per_epoch=1", "batch_size=4", "devices=cpu:0"]
    pictures = ["train_count=8", "val_count=4", "crop_size=48,48"]
    demo.main([*steps, *pictures, "channels=8", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("bilinear", "thin", "dupsampling", "multiply-adds"))
    for name in ("saved_model/1/saved_model.pb", "model.tflite", "comparison.png"):
        assert (tmp_path / name).exists()
