import RetortRuntime
import RetortSupport

/// Adapters on disk as Hugging Face's PEFT reads and writes them: `adapter_config.json` and `adapter_model.safetensors`.
public enum AdapterDirectory {
    /// - `base`: the directory of the model that they adapt.
    /// - Throws: `RetortError` 73 or 74.
    public static func save(
        _ adaptation: LowRankAdaptation, of model: any LanguageModel, base: String, to folder: String
    ) throws {
        let layers = model.adaptableLayers.filter { $0.adapter != nil }
        try Folder.createWithParents(folder)
        let arrays = layers.compactMap(\.adapter).flatMap(\.parameters).map { parameter in
            SavedArray(
                name: "base_model.model." + parameter.name, shape: Array(parameter.shape), values: parameter.values)
        }
        try SavedArray.write(arrays, to: folder + "/adapter_model.safetensors")
        let targets = adaptation.targets ?? LowRankAdaptation.shortNames(of: layers)
        let config: JSON = [
            "base_model_name_or_path": .string(base),
            "bias": "none",
            // Whether weights are [inputs, outputs], as GPT-2's.
            "fan_in_fan_out": .bool(layers.contains { $0.isTransposed }),
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": adaptation.alpha == adaptation.alpha.rounded() && abs(adaptation.alpha) < 1e9
                ? .int(Int(adaptation.alpha)) : .double(Double(adaptation.alpha)),
            "lora_dropout": .double(Double("\(adaptation.dropout)") ?? 0),
            "modules_to_save": .null,
            "peft_type": "LORA",
            "r": .int(adaptation.rank),
            "target_modules": .array(targets.map(JSON.string)),
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": false,
        ]
        try AtomicFile.write(config.text(.pretty) + "\n", to: folder + "/adapter_config.json")
    }
}
