"""The terms of series descriptions: English, German, French, Spanish, Italian, Portuguese and Dutch, then CJK.

Lower case without accents. A term ending in ``*`` is the beginning of a word.
"""

from __future__ import annotations

PHASE_TERMS: dict[str, tuple[str, ...]] = {
    "pre": (
        "pre", "precontrast", "pre contrast", "prekontrast", "pre kontrast", "unenhanced", "non contrast",
        "noncontrast", "non enhanced", "without contrast", "no contrast", "before contrast", "plain", "baseline",
        "mask", "native", "nativ", "ohne km", "ohne kontrast*", "vor km", "vor kontrast*", "prae", "praekontrast",
        "sans injection", "sans inj", "sans contraste", "sans gado*", "avant injection", "avant inj",
        "avant contraste", "avant gado*", "sin contraste", "sin civ", "sin gado*", "basal", "senza mdc",
        "senza contrasto", "pre mdc", "basale", "diretto", "sem contraste", "sem gado*", "pre contraste",
        "precontraste", "zonder contrast", "voor contrast", "blanco", "nativa", "nativo",
        "平扫", "平掃", "增强前", "增強前", "造影前", "単純", "조영전", "조영 전",
    ),
    "early_arterial": (
        "early arterial", "early art", "arterial early", "art early", "fruharteriell*", "fruehart*", "fruhart*",
        "fruh arteri*", "frueh arteri*", "arteri* precoce", "arteri* temprana", "arteri* precoz", "vroeg arteri*",
        "动脉早期", "早期动脉", "動脈早期", "早期動脈", "조기동맥", "동맥 조기", "조기 동맥",
    ),
    "arterial": (
        "arterial", "arteriell", "arterielle", "arteriel", "arteriosa", "arterioso", "arteriale", "arterieel",
        "arteriele", "arteri*", "art", "artphase", "hap", "ap phase", "late arterial", "late art", "arterial late",
        "spatarteri*", "spaetarteri*", "spatart", "spaetart", "spat arteri*", "spaet arteri*", "arteri* tardi*",
        "laat arteri*", "动脉", "動脈", "동맥", "动脉晚期", "晚期动脉", "動脈後期", "後期動脈", "후기동맥", "후기 동맥",
    ),
    "portal_venous": (
        "portal venous", "portal", "portovenous", "portalvenous", "portalvenos*", "portalvenoes*", "portovenos*",
        "portalphase", "portoven*", "porto ven*", "portal ven*", "portal veineux", "portale", "portaal", "porta",
        "porte", "portaveneus*", "pv", "pvp", "pvph", "ppv", "venos* portal*",
        "门脉", "门静脉", "門脈", "門静脈", "門靜脈", "문맥", "간문맥", "문정맥",
    ),
    "venous": (
        "venous", "ven", "venos*", "venoes*", "veineux", "veineuse", "veneus", "veneuze",
        "静脉", "静脈", "靜脈", "정맥",
    ),
    "delayed": (
        "delayed", "delay", "delay*", "dly", "equilibrium", "equilibre", "equilibrio", "equil", "equilib*",
        "interstitial", "interstiti*", "transitional", "late venous", "late phase", "late dynamic", "spatphase",
        "spaetphase", "spatvenos*", "spaetvenoes*", "spat venos*", "spaet venoes*", "gleichgewicht*", "verzogert*",
        "verzoegert*", "aequilibrium", "aquilibrium", "retarde", "retardee", "retardada", "retardado", "ritardata",
        "evenwicht*", "vertraagd*", "延迟", "延遲", "遅延", "平衡", "지연", "평형",
    ),
    "late": (
        "late", "spat", "spaet", "spate", "spaete", "tardif", "tardive", "tardia", "tardivo", "tardiva", "tardi*",
        "laat", "晚期", "后期", "後期", "후기",
    ),
    "hepatobiliary": (
        "hepatobiliary", "hepatobil*", "hepato biliary", "hepatobiliar", "hepatobiliare", "hepatobiliaire",
        "epatobiliare", "epatobil*", "hepatospecific", "hepatospez*", "leberspez*", "hepatocyt*", "hepatocit*",
        "hepatozell*", "epatocit*", "hbp", "hb phase", "hbph", "肝胆", "肝膽", "肝細胞", "肝细胞", "간담도", "간세포",
    ),
}  # fmt: skip

CONTRAST_TERMS = (
    "post", "postcontrast", "gd", "gado*", "gad", "km", "mdc", "kontrast*", "contrast*", "injection", "inj",
    "injecte", "dotarem", "primovist", "eovist", "multihance", "magnevist", "omniscan", "prohance", "clariscan",
    "enhanced", "增强", "增強", "造影", "조영",
)  # fmt: skip

SEQUENCE_TERMS = (
    "vibe", "starvibe", "lava", "thrive", "ethrive", "mdixon", "dixon", "tigre", "quick 3d", "quick3d", "quick",
    "disco", "twist", "grasp", "fame", "fspgr", "spgr", "flash", "fl3d", "fl2d", "tfl", "tfe", "ffe", "gre", "t1",
    "t1w", "wfi", "fsp3d",
)  # fmt: skip

FAT_SUPPRESSION_TERMS = (
    "fs", "fatsat", "fat sat", "fat sup*", "fat saturat*", "fatsup*", "spair", "spir", "aspir", "wats", "spectral",
    "fettsat*", "fett sat*", "fettgesattigt*", "fettunterdruck*", "sat graisse", "fat satur*", "satgrasa",
    "thrive", "ethrive", "压脂", "脂肪抑制", "抑脂", "지방억제",
)  # fmt: skip

COMPONENT_TERMS: dict[str, tuple[str, ...]] = {
    "water": ("water", "wasser", "eau", "agua", "acqua", "wateronly", "water only", "水相", "水像"),
    "fat": ("fat", "fett", "graisse", "fatonly", "fat only", "脂相", "脂肪像"),
    "in_phase": ("in phase", "inphase", "en phase", "in fase", "en fase", "iphase", "同相", "同位相", "동위상"),
    "opposed_phase": (
        "opp", "opposed*", "opp phase", "out phase", "outphase", "out of phase", "oop", "gegenphase", "fuori fase",
        "hors phase", "opposition de phase", "fuera de fase", "uit fase", "反相", "逆相", "逆位相", "역위상",
    ),
}  # fmt: skip
COMPONENT_ENDINGS = {"w": "water", "f": "fat", "in": "in_phase", "ip": "in_phase", "op": "opposed_phase"}
"""What vendors append to the description of a Dixon image, such as ``t1_vibe_dixon_tra_W``."""

KIND_TERMS: dict[str, tuple[str, ...]] = {
    "localiser": (
        "localizer", "localiser", "loc", "locator", "scout", "survey", "topogram", "3plane", "3 plane", "3pl",
        "lokalisat*", "lokalizer", "localisateur", "reperage", "localizador", "localizzatore", "ubersicht*",
        "uebersicht*", "定位", "位置決め", "위치결정",
    ),
    "calibration scan": ("calibration", "cal", "asset cal", "refscan", "ref scan", "senseref", "b1 map", "shim"),
    "diffusion": (
        "dwi", "diff", "diffusion", "adc", "eadc", "ivim", "tracew", "trace", "ep2d", "dwibs", "diffusione",
        "difusion", "difusao", "diffusie", "弥散", "扩散", "拡散", "확산",
    ),
    "T2-weighted": (
        "t2", "t2w", "haste", "ssfse", "sshtse", "ssh", "tse", "fse", "frfse", "blade", "propeller", "trufi",
        "truefisp", "fiesta", "bffe", "btfe", "mrcp", "stir", "flair", "t2star",
    ),
    "subtraction": (
        "sub", "subs", "subtr", "subtraction", "subtracted", "subtract*", "subtraktion", "soustraction",
        "sustraccion", "sottrazione", "subtracao", "subtractie", "减影", "減影", "サブトラクション", "감산",
    ),
    "projection (MIP)": ("mip", "minip", "maxip", "mips", "projection", "projektion"),
    "reformat (MPR)": ("mpr", "mprs", "reformat", "reformat*", "rekonstruktion", "curved"),
    "map": (
        "map", "maps", "t1map*", "t2map*", "molli", "ff", "pdff", "fatfrac*", "fat fraction", "r2", "r2star", "mre",
        "elasto*", "elastogr*", "stiffness", "washin", "washout map", "ktrans", "iauc", "ttp", "pei", "iq",
    ),
    "bolus tracking": (
        "care bolus", "carebolus", "smartprep", "smart prep", "fluoro*", "bolustrak", "bolus trak",
        "bolustrack", "bolus track*", "test bolus", "testbolus", "timing",
    ),
    "angiography": ("mra", "angio*", "cemra", "tof"),
    "screen capture or report": ("screen", "screenshot", "screen save", "report", "secondary capture"),
}  # fmt: skip

ANATOMY_TERMS = (
    "brain", "head", "neck", "spine", "knee", "shoulder", "hip", "pelvis", "prostate", "breast", "heart", "cardiac",
    "chest", "thorax", "foot", "hand", "wrist", "elbow", "ankle", "uterus", "rectum", "kopf", "schadel", "hals",
    "wirbelsaule", "lws", "becken", "knie", "schulter", "herz", "prostata", "mamma", "cerveau", "tete", "rachis",
    "bassin", "genou", "coeur", "sein", "cabeza", "columna", "rodilla", "corazon", "cerebro", "testa", "colonna",
    "bacino", "ginocchio", "cuore", "cabeca", "coluna", "joelho", "coracao", "hoofd", "bekken", "hart",
    "头部", "颅脑", "脊柱", "骨盆", "盆腔", "頭部", "脊椎", "두부", "척추", "골반",
)  # fmt: skip

FALSE_FRIENDS = frozenset((
    "artefact", "artefacts", "artifact", "artifacts", "artery", "arteries", "arteriogram", "arteriography",
    "arteriovenous", "article", "negative", "portable", "postal", "prescan", "preparation", "present", "partial",
))  # fmt: skip
"""Words that begin like a term or look misspelt, and mean something else."""
