"""Templates that recognisers may be tuned on. {kind} is personal data, [name] a near miss."""

TEMPLATES = {
    "form": [
        "報名表\n姓名：{name}　性別：男\n出生年月日：{birthday}\n身分證字號：{national_id}\n聯絡電話：{landline}\n手機：{mobile}\n電子郵件：{email}\n通訊地址：{address}\n報名編號：[order]",
        "客戶資料\n公司名稱：大同實業有限公司\n統一編號：{company_id}\n負責人：{name}\n電話：{landline}\n地址：{address}\n匯款帳號：{bank_account}\n合約編號：[order]",
        "居留證號碼：{resident_id}\n護照號碼：{passport}\n英文姓名：LIN, TAI-SHENG\n在臺地址：{address}\n",
        "電子發票\n手機條碼載具：{carrier}\n買受人統編：{company_id}\n發票號碼：AB-[number8]\n總計：[price]",
        "健保卡卡號：{health_card}\n病患姓名：{name}\n生日：{birthday}\n就診日期：[date]",
        "信用卡付款授權書\n持卡人：{name}\n卡號：{card}\n身分證字號：{national_id}\n帳單地址：{address}",
    ],
    "letter": [
        "{name}先生您好：\n\n您於[date]訂購的商品（訂單編號：[order]）已經寄出，將送到{address}。如有問題，請撥{landline}，或寄信到{email}。\n\n客服中心 敬上",
        "親愛的{name}小姐，感謝您參加活動。請將款項[price]匯至{bank_account}，並回電{mobile}確認。",
        "IBAN: {iban}\nPlease contact {email} before [date].",
    ],
    "court": [
        "臺灣臺北地方法院民事判決　　[case]\n原　　　告　{name}\n住{address}\n被　　　告　{name}\n訴訟代理人　{name}律師\n上列當事人間請求損害賠償事件，本院判決如下：依民法[law]，被告應給付原告[price]。",
        "被告{name}於[date]駕駛車牌號碼{plate}號自用小客車，行經[road]時，未注意車前狀況，依刑法[law]論處。參照最高法院[case]判決。",
        "聲請人{name}（{birthday}生，身分證統一編號：{national_id}）聲請宣告監護，依[letter]函辦理。",
    ],
    "chat": [
        "欸我換號碼了 {mobile}，舊的不要打\n好喔，那你 LINE ID：{line_id} 有變嗎？\n沒變，我住的地方改到{address}了",
        "麻煩匯到我的帳戶 {bank_account} 謝謝\n好，轉帳了 500 元",
        "陳小姐說車號{plate}擋到車道了，請打{mobile}\n收到，[model] 的貨也到了",
    ],
    "log": [
        "2024-05-01 12:30:45 INFO user={email} order=[order] status=200 time=[epoch]\n2024-05-01 12:30:46 WARN id=[uuid] version=[version]",
        "[epoch] login ok phone={mobile} request=[uuid] bytes=[number8]",
    ],
    "code": [
        'ORDER = "[order]"\nID = "[uuid]"\nVERSION = "[version]"\nsupport = "{email}"\n# ISBN [isbn]\nx = [number16]',
        "INSERT INTO users VALUES ('{national_id}', '{mobile}', '{card}', [number8]);",
    ],
    "near": [
        "本書 ISBN [isbn]，定價[price]，[date]出版。序號 [bad_id]，條碼 [number16]。",
        "依[law]及[case]判決意旨，[letter]函釋示在案，自[date]起施行。高中老師說明[model]的規格，版本[version]。",
        "庫存編號 [number8] 的 [model] 共 120 件，單價[price]，訂單 [order]。",
    ],
}
